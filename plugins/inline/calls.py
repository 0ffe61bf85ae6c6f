"""A call in the inline engine: what to run, with what, and where its results go."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import attrs

from shoal.inline.results import Result
from shoal.interfaces.refs import ObjectRef
from shoal.serial import loads, unpack
from shoal.spec.calls import ExecutionContext, NumReturns
from shoal.spec.resources import ResourceSet

QUEUED, RUNNING, DONE = "QUEUED", "RUNNING", "DONE"


@attrs.define(eq=False, kw_only=True)
class Call:
    """One task or one actor call, through all its attempts."""

    task_id: bytes
    name: str
    function_name: str
    function: Callable[..., Any] | None  # None: an actor's method, found on the instance
    packed: bytes  # (args, kwargs)
    refs: tuple[ObjectRef[Any], ...]  # inside packed
    waits_for: tuple[ObjectRef[Any], ...]  # arguments that arrive as their values
    num_returns: NumReturns
    retries: int
    retry_exceptions: bool | tuple[type[BaseException], ...]
    resources: ResourceSet = attrs.field(factory=ResourceSet)
    demand: Any = None  # what the scheduler is asked; None for an actor's call
    backpressure: int = 0
    runtime_env: Any = None
    actor: Any = None
    group: str | None = None  # concurrency group
    results: list[Result] = attrs.field(factory=list)
    failed: bool = False
    stream: Any = None
    state: str = QUEUED
    cancelled: bool = False
    attempt: int = 0
    children: list[Call] = attrs.field(factory=list)
    task: Any = None  # the asyncio task of an async method
    context: ExecutionContext | None = None

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return fresh copies of the arguments, with references at the top level as their values.

        Raises the error of a reference that failed.
        """
        args, kwargs = loads(*unpack(self.packed), self.refs)
        return (
            tuple(_resolved(arg) for arg in args),
            {name: _resolved(arg) for name, arg in kwargs.items()},
        )

    def may_retry(self, error: BaseException) -> bool:
        """Tell whether the options ask for another attempt after this error."""
        if self.retries != -1 and self.attempt >= self.retries:
            return False
        if isinstance(self.retry_exceptions, bool):
            return self.retry_exceptions and isinstance(error, Exception)
        return isinstance(error, self.retry_exceptions)


def failed_argument(call: Call) -> bytes | None:
    """Return the error of the first argument that has one: the call fails with just that."""
    for ref in call.waits_for:
        if ref.record.error:
            error: bytes = ref.record.error
            return error
    return None


def _resolved(argument: Any) -> Any:
    return argument.record.value() if type(argument) is ObjectRef else argument


# What runs in this thread or asyncio task. A context variable, since async methods of one thread take turns.
running: contextvars.ContextVar[Call | None] = contextvars.ContextVar("shoal_inline_call", default=None)
