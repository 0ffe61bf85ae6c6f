"""The actor that is one rank of a run."""

from __future__ import annotations

import gc
import inspect
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import attrs

import shoal
from shoal.train.controller.kept import Kept
from shoal.train.session import Orders, Place, Session, begin_session, session_here


@attrs.frozen(kw_only=True)
class WorkerInfo:
    """Where a worker is."""

    node_id: str
    address: str
    hostname: str
    pid: int
    devices: tuple[str, ...]  # its GPUs


class TrainWorker:
    """One rank. Its calls run in threads, beside the thread of the training function."""

    def info(self) -> WorkerInfo:
        """Return where this is."""
        context = shoal.get_runtime_context()
        node = context.get_node_id()
        address = next(
            (each["NodeManagerAddress"] for each in shoal.nodes() if each["NodeID"] == node), "127.0.0.1"
        )
        return WorkerInfo(
            node_id=node,
            address=address,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            devices=tuple(map(str, shoal.get_gpu_ids())),
        )

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function in this process."""
        return function(*args, **kwargs)

    def prepare(self, place: Place, orders: Orders, shards: Mapping[str, Any], known: list[Kept]) -> None:
        """Become a rank of a run."""
        begin_session(Session(place, orders, shards, known=list(known)))

    def begin(self, payload: tuple[Callable[..., Any], Any], wrap: Callable[..., Any] | None) -> None:
        """Run the training function, whose end is an event."""
        function, config = payload
        call = bind(function, config)

        def body() -> Any:
            if wrap is None:
                return call()
            with wrap():
                return call()

        session_here("begin").run(body)

    def poll(self, timeout: float) -> list[tuple[Any, ...]]:
        """Return what happened, when something did; at most after so many seconds."""
        return session_here("poll").poll(timeout)

    def deliver(self, number: int, value: Any) -> None:
        """Let a meeting of all ranks go on."""
        session_here("deliver").give(number, value)

    def note(self, known: list[Kept], statuses: Mapping[int, str]) -> None:
        """Know the run's checkpoints."""
        session_here("note").note(known, statuses)

    def abandon(self, reset: Callable[[], None] | None, seconds: float) -> bool:
        """End this worker's part of a group that failed; return whether the process is fit for another.

        What the training function waits for in C cannot be ended: then it is not, after so many seconds.
        """
        session = session_here("abandon")
        if reset is None or not session.abandon(seconds):
            return False
        if has_devices():
            return False
        reset()
        begin_session(None)
        gc.collect()  # models of before, which may refer to themselves
        return True

    def stack(self) -> str:
        """Return where the training function is."""
        return session_here("stack").stack()


def has_devices() -> bool:
    """Return whether this worker has GPUs, whose state nobody vouches for after a failure."""
    return bool(shoal.get_gpu_ids())


def bind(function: Callable[..., Any], config: Any) -> Callable[[], Any]:
    """Return a call of the training function, which takes the configuration or nothing. Raises TypeError.

    Example: `bind(lambda config: config["lr"], {"lr": 0.1})()`
    """
    if takes_config(function):
        return lambda: function({} if config is None else config)
    return lambda: function()


def takes_config(function: Callable[..., Any]) -> bool:
    """Return whether a training function takes a configuration. Raises TypeError if it takes more.

    Example: `takes_config(lambda: None)  # False`
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of C, or a stranger's
        return False
    positional = [
        each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    needed = [each for each in positional if each.default is each.empty]
    if len(needed) > 1:
        raise TypeError(
            f"train_loop_per_worker must take one argument (the configuration) or none, not {len(needed)}: "
            f"{', '.join(each.name for each in needed)}"
        )
    return bool(positional) or any(each.kind is each.VAR_POSITIONAL for each in parameters)
