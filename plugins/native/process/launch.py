"""What a session is made of: its plugins, looked up and checked, and its settings, written for all its processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from shoal.config import Config
from shoal.errors import ConfigError
from shoal.native.process.environments import check_environment
from shoal.native.process.folders import explained
from shoal.native.process.job import job_of_settings
from shoal.native.process.session import Session
from shoal.native.process.store import import_target
from shoal.registry.discover import find
from shoal.registry.drivers import load_driver
from shoal.registry.groups import ACCELERATORS, HOOKS, METADATA, SCHEDULERS, SHARING, STORES

_LEAST_STORE = 1 << 20  # bytes


def prepare_session(
    config: Config,
    worker_id: bytes,
    name: str,
    folder: str,
    store_folder: str,
    token: bytes = b"",
    head_address: str = "",
    standing: bool = False,
    tls: Sequence[str] = (),
    tls_host: str = "",
) -> Session:
    """Look up and check a session's plugins, and write its settings. Raises ConfigError, SystemFailure.

    A `standing` session is a node of a cluster, whose `token` it must know; at `head_address` is its head, "" means
    that it is the head itself. `tls` and `tls_host` are the session's fields of these names.
    """
    store = load_driver(STORES, config.store, config.store_options)
    if not store.shared:
        raise ConfigError(
            f"store={config.store!r} keeps objects in one process; the native engine needs one that processes share, "
            "e.g. 'spill' or 'shm'"
        )
    targets: dict[str, str] = {
        "store": _target(store),
        "scheduler": _target(load_driver(SCHEDULERS, config.scheduler, config.scheduler_options)),
        "sharing": _target(load_driver(SHARING, config.sharing)),
        "metadata": _target(load_driver(METADATA, config.metadata, config.metadata_options)),
    }
    for accelerator in config.accelerators:
        targets[f"accelerator:{accelerator}"] = _target(load_driver(ACCELERATORS, accelerator))
    import_target(targets["scheduler"])(
        config.scheduler_options
    )  # refuses its options here, not in the daemon
    job_id = (1).to_bytes(4, "big")
    job_of_settings(config, job_id)  # refuses a quota here, not in the daemon
    environment = check_environment(config.runtime_env)
    wire: dict[str, Any] = config.to_wire()
    session = Session(
        name=name,
        folder=folder,
        token=token or os.urandom(32),
        is_head=not head_address,
        head_address=head_address,
        listen_host=_listen_host(config) if standing else "",
        listen_port=config.head_port,
        standing=standing,
        tls=tls,
        tls_host=tls_host,
        node_id=os.urandom(8),
        job_id=job_id,
        store_folder=store_folder,
        namespace=config.namespace or os.urandom(8).hex(),
        driver=worker_id,
        driver_pid=os.getpid(),
        path=tuple(_absolute_path()),
        main_folder=os.getcwd(),
        config=wire,
        targets=targets,
        observed=bool(find(HOOKS)),
        store_bytes=_store_bytes(config, store_folder),
        spill_folder=_spill_folder(config, folder, name),
        environment=environment,
    )
    with explained("the session's folder", folder):
        session.write()
    return session


def _target(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _absolute_path() -> list[str]:
    """Return sys.path as other processes can use it: "" means where this program runs."""
    return [os.path.abspath(entry) if entry else os.getcwd() for entry in sys.path]


def _spill_folder(config: Config, folder: str, name: str) -> str:
    if config.spill_dir is None:
        return os.path.join(folder, "spill")
    path = os.path.join(config.spill_dir, name)
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def _listen_host(config: Config) -> str:
    from shoal.native.security.policy import loopback

    return config.listen_host or loopback()


def _store_bytes(config: Config, store_folder: str) -> int:
    status = os.statvfs(store_folder)
    if config.object_store_bytes is not None:
        most = status.f_blocks * status.f_frsize
        if config.object_store_bytes > most:
            raise ConfigError(
                f"object_store_bytes={config.object_store_bytes:,} is more than the file system of {store_folder} can "
                f"hold, {most:,}: give less, or give the machine (or container: --shm-size) more shared memory"
            )
        return config.object_store_bytes
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    room = int(status.f_bavail * status.f_frsize * 0.95)
    return max(_LEAST_STORE, min(int(memory * 0.3), room))
