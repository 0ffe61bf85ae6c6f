"""Streaming generators: run step by step, as their items are asked for."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.inline.calls import DONE, RUNNING, Call, failed_argument, running
from shoal.inline.core import Core, nothing
from shoal.inline.results import Result
from shoal.interfaces.refs import ObjectRef, ObjectRefGenerator
from shoal.serial import dumps

if TYPE_CHECKING:
    from shoal.inline.tasks import Tasks

_END = object()


class Stream:
    """What one call yields. Lazy: an endless generator is no problem, and nothing runs that nobody asks for.

    An actor's stream that has begun runs between the actor's other calls.
    """

    def __init__(self, core: Core, tasks: Tasks, call: Call) -> None:
        self.core = core
        self.call = call
        self.ended: bool = False
        self.function: Any = call.function
        self._tasks = tasks
        self._generator: Any = None
        self._count = 0
        self._ahead: list[Result] = []
        self._step = threading.Lock()  # one step at a time
        self._end = Result(call.task_id + b"\xff\xff\xff\xff", call)

    def generator(self) -> ObjectRefGenerator[Any]:
        """Return what the user iterates over."""
        return ObjectRefGenerator(self.call.task_id, self.core.engine, self, nothing)

    def next(self, timeout: float | None) -> ObjectRef[Any] | None:
        """Return the next reference, None at the end."""
        with self._step:
            if not self._ahead:
                self._produce(timeout)
            return self.core.ref(self._ahead.pop(0)) if self._ahead else None

    def at_end(self) -> bool:
        """Tell whether no item is left, running the generator one step if need be."""
        with self._step:
            if not self._ahead:
                self._produce(None)
            return not self._ahead

    def run_to_end(self) -> ObjectRef[None]:
        """Run the generator out, keeping its items, and return a reference to its end."""
        with self._step:
            while not self.ended:
                self._produce(None)
        return self.core.ref(self._end)

    def blocked(self) -> bool:
        """Tell whether an argument, or the actor, is not there yet."""
        if self.ended:
            return False
        return self.function is None or not all(ref.record.done for ref in self.call.waits_for)

    def open(self, function: Callable[..., Any]) -> None:
        """Say what makes the generator, once the actor has it."""
        with self.core.changed:
            self.function = function
            self.core.changed.notify_all()

    def abort(self, error: bytes) -> None:
        """End with an error as the last item. Called under the lock."""
        if not self.ended:
            self._add().fail(error)
            self._end.fail(error)
            self._finish()

    def _produce(self, timeout: float | None) -> None:
        if self.ended:
            return
        if not self.core.wait_until(lambda: self.ended or not self.blocked(), timeout):
            from shoal.errors import GetTimeout

            raise GetTimeout(f"the generator {self.call.name}() waits for its arguments")
        self.core.run_now(self._run_step)
        self.core.wait_until(lambda: self.ended or bool(self._ahead), timeout)

    def _run_step(self) -> None:
        call = self.call
        error_of_argument = failed_argument(call)
        if error_of_argument is not None:
            self.core.fail(call, error_of_argument)
            return
        token = running.set(call)
        try:
            item = self._advance()
            if item is _END:
                with self.core.lock:
                    self._end.fill(dumps(None))
                    self._finish()
                    self.core._done(call)
            else:
                payload = dumps(item, what=f"what {call.name}() yielded")
                with self.core.changed:
                    if not self.ended:
                        self._add().fill(payload)
                    self.core.changed.notify_all()
        except BaseException as error:  # user code may raise anything
            self.core.fail(call, error)
            if isinstance(error, KeyboardInterrupt):
                raise
        finally:
            running.reset(token)

    def _advance(self) -> Any:
        if self._generator is None:
            self.call.state = RUNNING
            args, kwargs = self.call.arguments()
            made = self.function(*args, **kwargs)
            self._generator = made if hasattr(made, "__anext__") else iter(made)
        if inspect.isasyncgen(self._generator) or hasattr(self._generator, "__anext__"):
            return self.core.loop.run(_step(self._generator, self.call))
        return next(self._generator, _END)

    def _add(self) -> Result:
        self._count += 1
        result = Result(self.call.task_id + self._count.to_bytes(4, "big"))
        self._ahead.append(result)
        return result

    def _finish(self) -> None:
        self.ended = True
        self.call.state = DONE
        generator, self._generator, self.function = self._generator, None, None
        if hasattr(generator, "close"):
            with contextlib.suppress(Exception):  # a generator that runs just now cannot be closed
                generator.close()


async def _step(generator: Any, call: Call) -> Any:
    running.set(call)
    try:
        return await anext(generator)
    except StopAsyncIteration:
        return _END
