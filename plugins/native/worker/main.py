"""The beginning of a worker process, forked from the zygote."""

from __future__ import annotations

import base64
import contextlib
import importlib
import os
import random
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import attrs

from shoal.config import Config
from shoal.interfaces.current import current
from shoal.native.client.client import Client
from shoal.native.engine import NativeEngine
from shoal.native.process.environments import JOB
from shoal.native.process.page import create, path_of
from shoal.native.process.session import Session
from shoal.native.process.store import open_store, store_class
from shoal.native.wire import kinds
from shoal.native.worker.printing import mark_streams
from shoal.native.worker.worker import Worker
from shoal.serial import load_function

_listeners: list[Any] = []  # the observers' functions, loaded in the zygote


def warm_up(preload: Sequence[str]) -> None:
    """Import what every worker needs, in the zygote, and what the session's settings name, where it is found."""
    import shoal.native.worker.actor_host
    import shoal.serial.pickler  # noqa: F401

    for name in preload:
        with contextlib.suppress(Exception):  # tried again when the driver's paths are known
            importlib.import_module(name)


def warm_up_more() -> None:
    """Import what many workers need, in the zygote, when there is time for it."""
    import asyncio  # noqa: F401  async actors
    import encodings.idna  # noqa: F401  what sockets of user code ask for


def prepare(session: Session) -> None:
    """Import the session's own plugins, in the zygote."""
    store_class(session)
    for name in Config.from_wire(session.config).worker_preload:
        try:
            importlib.import_module(name)
        except Exception:  # a module of the user's may raise anything; tasks that need it will say so
            traceback.print_exc()
    if session.observed:
        from shoal.native.client.observing import installed_listeners

        _listeners.append(installed_listeners())


def run_worker(session: Session, request: dict[str, Any]) -> None:
    """Live the life of one worker, in this process or as another program."""
    os.environ.update(request["variables"])
    if request["programs"]:
        os.environ["PATH"] = os.pathsep.join([*request["programs"], os.environ.get("PATH", os.defpath)])
    folder = request["folder"] or session.main_folder
    if os.path.isdir(folder):
        os.chdir(folder)
    if request["command"]:
        from shoal.native.worker.become import become

        become(session, request, folder)
    live(session, request)


def live(session: Session, request: dict[str, Any]) -> None:
    """Live the life of one worker in this process, whose variables and folder are set."""
    worker_id: bytes = request["worker"]
    sys.path[:] = [*request["path"], *session.path]
    job = request["job"]
    if job is not None:
        session = attrs.evolve(
            session,
            namespace=job["namespace"],
            driver=job["driver"],
            job_id=job["id"],
            environment={**job["environment"], JOB: job},
        )
    sys.argv = [f"shoal-worker-{worker_id.hex()}"]
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    page = create(path_of(session.folder, worker_id))
    config = Config.from_wire(session.config)
    store = open_store(session, worker_id.hex())
    client = Client(session, config, worker_id, store)
    client.job_environment = session.environment
    worker = Worker(client, page)
    mark_streams(worker)
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = _breakpoint
    engine = NativeEngine(client, worker)
    client.engine = engine
    for listeners in _listeners:
        from shoal.native.client.observing import Observing

        client.observing = Observing(client, listeners)
    current.engine = engine
    for hook in request["hooks"]:
        _run_hook(hook)
    with client.reactor.lock:
        client.tell_daemon([kinds.REGISTER, {"pid": os.getpid(), "kind": "worker"}])
        client.reactor.flush()
    client.reactor.start_background("shoal-io")
    worker.serve()
    worker.flush()
    client.recorder.close()
    current.engine = None
    _run_exit_functions()


def _breakpoint(*args: Any, **known: Any) -> None:
    """What `breakpoint()` does in a worker, which has no terminal."""
    from shoal.debugging import stop_here

    stop_here("breakpoint", sys._getframe(1))


def _run_hook(hook: str) -> None:
    """Call what the environment wants called before work. What it raises ends the worker, and is told as the reason."""
    kind, _, rest = hook.partition(":")
    if kind == "pickle":
        function = load_function(base64.b64decode(rest), [])
    else:
        module, _, name = hook.rpartition(".")
        function = getattr(importlib.import_module(module), name)
    function()


def _run_exit_functions() -> None:
    """Run what user code has registered with atexit: the process ends without Python's own shutdown."""
    import atexit

    atexit._run_exitfuncs()
