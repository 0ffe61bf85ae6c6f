"""Calls that stand still for a person: at a breakpoint, or where they raised. The debugger is a plugin.

    stop_here("before the update")     # in a task or actor; `breakpoint()` there does the same
    stopped_calls("/tmp/shoal-0/session_…")

What stands still is told in the session's folder on its node, which only this user can read.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import traceback
from collections.abc import Iterator, Mapping
from types import FrameType, TracebackType
from typing import Any

import attrs

from shoal.interfaces.current import current
from shoal.interfaces.debugger import Debugger, Stopped

__all__ = ["Stopped", "stop_after", "stop_here", "stopped_calls"]

FOLDER = "debug"


def stop_here(name: str = "breakpoint", frame: FrameType | None = None) -> bool:
    """Let a person look in, at the caller's line; return whether one came within `debugger_wait_seconds`.

    In a program that has a terminal this is pdb there. Raises ConfigError if the debugger of the settings is missing.

    Example: `stop_here("before the update")`
    """
    where = frame if frame is not None else sys._getframe(1)
    if sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty():
        import pdb

        pdb.Pdb().set_trace(where)
        return True
    return _wait(_stopped(name, where, where.f_lineno))


def stop_after(error: BaseException) -> bool:
    """Let a person look at the frames of an error, before it is told; return whether one came.

    Example: `except Exception as error: stop_after(error)`
    """
    trace = _innermost(error.__traceback__)
    if trace is None:
        return False
    said = "".join(traceback.format_exception_only(type(error), error)).strip()
    stopped = _stopped("post-mortem", trace.tb_frame, trace.tb_lineno)
    return _wait(attrs.evolve(stopped, error=said, traceback=error.__traceback__))


def stopped_calls(folder: str) -> list[dict[str, Any]]:
    """Return what stands still in a session on this machine, as plain data: the fields of `Stopped`, and how to come.

    Example: `[call["file"] for call in stopped_calls(folder)]`
    """
    found = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(os.path.join(folder, FOLDER))):
            with contextlib.suppress(OSError, ValueError):
                path = os.path.join(folder, FOLDER, name)
                with open(path, encoding="utf-8") as file:
                    facts: dict[str, Any] = json.load(file)
                if os.path.exists(f"/proc/{facts['pid']}"):
                    found.append({"id": name.removesuffix(".json"), **facts})
    return found


def _stopped(name: str, frame: FrameType, line: int) -> Stopped:
    code = frame.f_code
    engine = current.engine
    facts: dict[str, Any] = {}
    if engine is not None and not engine.closed:
        context = engine.context()
        facts = {
            "task": context.task_id.hex(),
            "actor": context.actor_id.hex(),
            "worker": context.worker_id.hex(),
            "node": context.node_id.hex(),
        }
    return Stopped(
        name=name,
        function=getattr(code, "co_qualname", code.co_name),
        file=code.co_filename,
        line=line,
        pid=os.getpid(),
        frame=frame,
        **facts,
    )


def _innermost(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _wait(stopped: Stopped) -> bool:
    from shoal.config import load_config
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import DEBUGGERS

    engine = current.engine
    has_engine = engine is not None and not engine.closed
    config = engine.config if engine is not None and has_engine else load_config()
    folder = engine.context().session_folder if engine is not None and has_engine else ""
    driver: type[Debugger] = load_driver(DEBUGGERS, config.debugger)

    @contextlib.contextmanager
    def announce(facts: Mapping[str, Any], text: str) -> Iterator[None]:
        print(f"{stopped.name} at {stopped.file}:{stopped.line}: {text}", flush=True)
        if not folder or not os.path.isdir(folder):
            yield
            return
        place = os.path.join(folder, FOLDER)
        os.makedirs(place, mode=0o700, exist_ok=True)
        path = os.path.join(place, f"{secrets.token_hex(4)}.json")
        plain = attrs.asdict(stopped, filter=lambda field, _: field.name not in ("frame", "traceback"))
        with open(path, "x", encoding="utf-8", opener=_private) as file:
            json.dump({**plain, **facts, "debugger": config.debugger, "text": text}, file)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):  # the session has ended meanwhile
                os.unlink(path)

    came = driver().wait(stopped, announce, config.debugger_wait_seconds)
    if not came:
        print(f"{stopped.name}: nobody came, going on", flush=True)
    return came


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
