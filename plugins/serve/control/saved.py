"""The machine's state as it is written down and as it is told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
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
            "external_scaler": app.spec.external_scaler,
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
                    "calls": list(one.target.calls),
                    "options": plain(one.target.options),
                    "states": {replica: each.state for replica, each in one.replicas.items()},
                    "replica_states": dict(Counter(replica.state for replica in one.replicas.values())),
                }
                for each, one in app.deployments.items()
            },
        }
        for name, app in machine.apps.items()
    }


def plain(options: Any) -> dict[str, Any]:
    """Return options in values that JSON can hold: what is none is told as text, secrets are left out.

    Example: `plain(DeploymentOptions(name="words"))["num_replicas"]  # 1`
    """

    def value(given: Any) -> Any:
        if attrs.has(type(given)):
            names = [field.name for field in attrs.fields(type(given)) if "password" not in field.name]
            return {name: value(getattr(given, name)) for name in names}
        if isinstance(given, Mapping):
            return {str(name): value(each) for name, each in given.items() if name != "env_vars"}
        if isinstance(given, (list, tuple, set, frozenset)):
            return [value(each) for each in given]
        return given if given is None or isinstance(given, (bool, int, float, str)) else str(given)

    told: dict[str, Any] = value(options)
    return told
