"""The machine's state as it is written down and as it is told."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import attrs

from shoal.serve.control.machine import ApplicationState, Machine


def to_save(machine: Machine) -> list[ApplicationState]:
    """Return what another controller needs to go on."""
    return [app for app in machine.apps.values() if app.deployments]


def describe(machine: Machine) -> dict[str, Any]:
    """Return how applications stand, in plain values."""
    offset = time.time() - time.monotonic()
    return {
        name: {
            "name": name,
            "status": app.status,
            "message": app.message,
            "deployed_at": app.deployed_at + offset,
            "route_prefix": app.spec.route_prefix,
            "ingress": app.spec.ingress,
            "docs_path": app.spec.deployments[app.spec.ingress].docs_path,
            "config": app.spec.config,
            "canary": None
            if app.spec.canary is None
            else attrs.asdict(app.spec.canary, value_serializer=lambda _, __, value: value),
            "deployments": {
                each: {
                    "name": each,
                    "status": one.status,
                    "trigger": one.trigger,
                    "message": one.message,
                    "wanted": one.wanted,
                    "version": one.target.version,
                    "replica_states": dict(Counter(replica.state for replica in one.replicas.values())),
                }
                for each, one in app.deployments.items()
            },
        }
        for name, app in machine.apps.items()
    }
