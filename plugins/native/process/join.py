"""A driver that joins a cluster through the node of it that runs on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Set
from typing import TypeVar

import attrs

from shoal.config import LOCAL_SETTINGS, Config
from shoal.errors import ConfigError
from shoal.interfaces.engine import Engine
from shoal.native.client.client import Client
from shoal.native.process.drive import attach_driver
from shoal.native.process.environments import JOB, check_environment
from shoal.native.process.job import job_of_settings
from shoal.native.process.node import find_node, session_of
from shoal.native.process.session import Session
from shoal.native.process.spawn import DaemonProcess
from shoal.native.process.store import open_store
from shoal.native.wire.nodes import driver_id

_E = TypeVar("_E", bound=Engine)

# What a driver decides for itself; all else is the cluster's.
OWN_SETTINGS = (
    "client_grace_seconds",
    "get_warning_seconds",
    "infeasible",
    "job_name",
    "job_preemptible",
    "job_priority",
    "job_quota",
    "job_share",
    "log_to_driver",
    "record_call_sites",
    "timeline_events_max",
)


def observe_cluster(config: Config) -> Client:
    """Connect to the node of a cluster to ask it questions, without being a driver. The caller closes the client.

    Raises ConfigError, SystemFailure.
    """
    assert config.address is not None
    return observe_session(session_of(find_node(config.address, config.temp_dir)))


def observe_session(session: Session) -> Client:
    """Connect to a session's daemon to ask it questions. The caller closes the client. Raises SystemFailure."""
    worker_id = driver_id(session.number)
    client = Client(
        session, Config.from_wire(session.config), worker_id, open_store(session, worker_id.hex())
    )
    client.reactor.start_background("shoal-io")
    return client


def refuse_node_settings(config: Config, allowed: Set[str]) -> None:
    """Raise ConfigError if an argument was given that is a node's to decide."""
    given = sorted(name for name in LOCAL_SETTINGS - allowed if config.where_from(name) == "argument")
    if given == ["credentials_file"]:
        raise ConfigError('credentials_file is for programs outside the cluster: address="shoal://HOST:PORT"')
    if given:
        raise ConfigError(
            f"{', '.join(given)}: a program that joins a cluster brings no resources; give them to `shoal start`, or "
            "leave address out for a session of its own"
        )


def join_cluster(config: Config, make_engine: Callable[[Client, None, DaemonProcess | None], _E]) -> _E:
    """Be a driver of the cluster at `config.address`. Raises ConfigError, SystemFailure; see Engine.start."""
    assert config.address is not None
    refuse_node_settings(config, {"accelerators", "log_level", "temp_dir"})
    info = find_node(config.address, config.temp_dir)
    session = session_of(info)
    worker_id = driver_id(session.number)
    namespace = config.namespace or os.urandom(8).hex()
    job_id = os.urandom(4)
    checked = session.carried(check_environment(config.runtime_env))
    job = {
        "driver": worker_id,
        "id": job_id,
        "namespace": namespace,
        "path": [os.path.abspath(entry) if entry else os.getcwd() for entry in sys.path],
        "folder": os.getcwd(),
        "spec": job_of_settings(config, job_id).to_wire(),
        "environment": checked,
    }
    environment = {**checked, JOB: job}
    own = {name: getattr(config, name) for name in OWN_SETTINGS}
    joined = Config.from_wire({**session.config, **own})
    session = attrs.evolve(
        session,
        namespace=namespace,
        driver=worker_id,
        driver_pid=os.getpid(),
        job_id=job_id,
        environment=environment,
    )
    store = open_store(session, worker_id.hex())
    return attach_driver(session, joined, worker_id, store, {}, None, make_engine)
