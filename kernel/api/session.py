"""The session of this process: how it begins, is found by every call, and ends."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from shoal.errors import ConfigError, NotInitialized
from shoal.interfaces.current import current
from shoal.interfaces.engine import Engine, SupportsDashboard

if TYPE_CHECKING:
    from shoal.config import Config

# Arguments whose names in the reference system differ from the names of our settings.
_RENAMED = {"_temp_dir": "temp_dir", "_memory": "memory_bytes", "object_store_memory": "object_store_bytes"}


class _Life:
    """What must be known besides the engine itself."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.forked = False  # this process was forked from one that had a session
        self.watched = False  # fork and exit handlers are in place
        self.sessions = 0  # how many this process has started


_life = _Life()


class SessionContext(Mapping[str, Any]):
    """What `init` returns: facts about the session as a mapping, and a context manager that ends it.

    Example: `with shoal.init(num_cpus=2) as session: print(session["node_id"])`
    """

    def __init__(self, engine: Engine) -> None:
        where = engine.context()
        self._engine = engine
        self.python_version: str = ".".join(map(str, sys.version_info[:3]))
        self.address_info: dict[str, Any] = {
            "address": where.address,
            "engine": engine.name,
            "gcs_address": where.address,
            "job_id": where.job_id.hex(),
            "namespace": where.namespace,
            "node_id": where.node_id.hex(),
            "session_dir": where.session_folder,
            "session_name": where.session_name,
            "webui_url": "",  # until somebody wants to look
        }

    @property
    def dashboard_url(self) -> str:
        """The dashboard's HOST:PORT, with `https://` before it if it speaks TLS; "" if the session has none.

        Reading it opens the port of a session whose dashboard was not asked for; `shoal dashboard` tells how to log in.
        """
        try:
            url = dashboard_of(self._engine).removeprefix("http://")
        except ConfigError:
            url = ""
        self.address_info["webui_url"] = url
        return url

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def disconnect(self) -> None:
        """End this session; a later one is left alone."""
        with _life.lock:
            if current.engine is self._engine:
                shutdown()

    def __enter__(self) -> SessionContext:
        return self

    def __exit__(self, *exc: object) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        return f"SessionContext({self.address_info!r})"


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    dashboard_host: str | None = None,
    dashboard_port: int | None = None,
    configure_logging: bool = True,
    logging_level: int | str | None = None,
    log_to_driver: bool | None = None,
    namespace: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    engine: str | None = None,
    scheduler: str | None = None,
    store: str | None = None,
    metadata: str | None = None,
    accelerators: Sequence[str] | None = None,
    infeasible: str | None = None,
    **settings: Any,
) -> SessionContext:
    """Start a session, or join the one at `address`; every later call of this process uses it.

    Parameters: `address` names a cluster of which a node runs here ("auto", "host:port"), or from outside the cluster
    its head's port ("shoal://host:port"); None takes SHOAL_ADDRESS or else starts a session of its own, "local" always
    does that. `num_cpus`, `num_gpus`, `resources`, `labels` and `object_store_memory` (bytes) say what this machine
    offers. `local_mode=True` is `engine="inline"`: everything runs in this process. `engine`, `scheduler`, `store`,
    `metadata` and `accelerators` name plugins, `infeasible` is "warn" or "error", and every other setting that
    `shoal config` lists can be given by its name. `configure_logging` is accepted and changes nothing: Shoal leaves a
    program's logging alone.

    Raises RuntimeError if there is a session already and `ignore_reinit_error` is false, ConfigError for settings that
    are unknown or wrong, NotInitialized in a process forked from one with a session, SystemFailure if nothing starts.

    Example: `shoal.init(num_cpus=4, namespace="test")`
    """
    with _life.lock:
        if current.engine is not None:
            if ignore_reinit_error:
                return SessionContext(current.engine)
            raise RuntimeError(
                "calling init() again after it has already been called; pass ignore_reinit_error=True to go on with "
                "the session that there is, or call shutdown() first"
            )
        _refuse_fork()
        if not isinstance(configure_logging, bool):
            raise ConfigError(f"configure_logging must be True or False, not {configure_logging!r}")
        if local_mode and engine not in (None, "inline"):
            raise ConfigError(f"local_mode=True means engine='inline', but engine={engine!r} was given")
        given: dict[str, Any] = {
            "address": address,
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "resources": resources,
            "labels": labels,
            "object_store_bytes": object_store_memory,
            "log_level": _level_name(logging_level),
            "log_to_driver": log_to_driver,
            "namespace": namespace,
            "runtime_env": runtime_env,
            "engine": "inline" if local_mode else engine,
            "scheduler": scheduler,
            "store": store,
            "metadata": metadata,
            "accelerators": accelerators,
            "infeasible": infeasible,
            "include_dashboard": include_dashboard,
            "dashboard_host": dashboard_host,
            "dashboard_port": dashboard_port,
        }
        for name, value in settings.items():
            name = _RENAMED.get(name, name)
            if given.get(name) is not None:
                raise ConfigError(f"setting {name!r} was given twice")
            given[name] = value
        current.engine = _start(given)
        _life.sessions += 1
        return SessionContext(current.engine)


def shutdown() -> None:
    """End the session of this process and all that runs in it. Without a session it does nothing.

    References and handles of the session are dead afterwards: `get` on one raises NotInitialized.
    Raises RuntimeError inside a task or actor: only the program that began a session ends it.
    """
    with _life.lock:
        engine = current.engine
        if engine is None:
            return
        if not engine.closed and not engine.context().is_driver:
            raise RuntimeError(
                "shutdown() was called inside a task or actor; only the driver may end the session"
            )
        current.engine = None
        engine.close()


def sessions_started() -> int:
    """Return how many sessions this process has started: with one, no reference can be of another."""
    return _life.sessions


def is_initialized() -> bool:
    """Tell whether this process has a session that works."""
    engine = current.engine
    return engine is not None and not engine.closed


def engine_or_start() -> Engine:
    """Return the engine of this process; start a session with the settings of the environment if there is none.

    Raises what `init` raises.
    """
    engine = current.engine
    if engine is None:
        with _life.lock:
            engine = current.engine
            if engine is None:
                init()
                engine = current.engine
    assert engine is not None
    return engine


def ended(what: str) -> NoReturn:
    """Raise NotInitialized for something that belongs to a session which is over."""
    _refuse_fork()
    raise NotInitialized(
        f"{what} belongs to a session that has ended, and its value went with it. Call shoal.init() and make it again; "
        "to keep values for longer than a session, get() them before shutdown()."
    )


def _start(given: Mapping[str, Any]) -> Engine:
    # Imported here: finding plugins and reading settings takes longer than importing the rest of the API.
    from shoal.config import load_config
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import ENGINES

    config = load_config(given)
    if config.address == "local":
        import attrs

        config = attrs.evolve(config, address=None)
    driver = load_driver(ENGINES, config.engine, config.engine_options)
    _refuse_dashboard(config, driver)
    if not _life.watched:
        import atexit

        atexit.register(_end_quietly)
        os.register_at_fork(after_in_child=_forget_in_child)
        _life.watched = True
    # While the engine waits for its processes there is time to import what the program will use next.
    threading.Thread(target=_import_rest, name="shoal-import", daemon=True).start()
    return driver.start(config)


def _import_rest() -> None:
    for name in ("remote", "state"):  # by name: these modules stand above this one
        importlib.import_module(f"shoal.api.{name}")


def _end_quietly() -> None:
    engine = current.engine
    current.engine = None
    if engine is not None:
        engine.close()


def _forget_in_child() -> None:
    if current.engine is not None:
        current.engine = None
        _life.forked = True
    _life.lock = threading.RLock()  # another thread of the parent may have held it


def _refuse_fork() -> None:
    if _life.forked:
        raise NotInitialized(
            "this process was forked from one that had a Shoal session; its connections belong to the parent. "
            "Use Shoal's tasks instead of fork, or start the process with multiprocessing's 'spawn' method."
        )


def _refuse_dashboard(config: Config, driver: type[Engine]) -> None:
    asked = [
        f"{name}={value!r}"
        for name in ("include_dashboard", "dashboard_host", "dashboard_port")
        if (value := getattr(config, name)) not in (None, False) and config.where_from(name) == "argument"
    ]
    if asked and not issubclass(driver, SupportsDashboard):
        raise ConfigError(
            f"sessions of the engine {config.engine!r} have no dashboard: leave {', '.join(asked)} out, and use "
            "shoal.nodes(), shoal.explain() and shoal.timeline()"
        )
    if asked and config.address is not None:
        raise ConfigError(
            f"the cluster at {config.address} has its dashboard already: leave {', '.join(asked)} out, and give it to "
            "`shoal start --head`"
        )


def dashboard_of(engine: Engine) -> str:
    """Return the address of a session's dashboard. Raises ConfigError if it has none."""
    if not isinstance(engine, SupportsDashboard) or engine.closed:
        raise ConfigError(f"this session of the engine {engine.name!r} has no dashboard")
    return engine.dashboard_url()


def _level_name(level: int | str | None) -> str | None:
    if level is None:
        return None
    name = logging.getLevelName(level) if isinstance(level, int) else level
    return {"warn": "warning", "critical": "error", "notset": "debug"}.get(name.lower(), name.lower())
