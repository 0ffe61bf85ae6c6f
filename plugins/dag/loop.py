"""The loop that an actor of a compiled graph runs, in a thread of its own beside the actor's other calls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from shoal.dag.failures import ChannelClosed, GraphError
from shoal.dag.prefetch import Prefetcher
from shoal.dag.relay import RelayWriter
from shoal.dag.ring import ERROR, Reader, Ring, Writer
from shoal.dag.steps import ActorPlan, Failed, Outlet, Step, fill
from shoal.dag.tensors import TensorSender, check_here, receive
from shoal.values import pack, pack_error

_LOOK_SECONDS = 0.05  # waiting may be interrupted for no reason, thousands of times a second
_loops: dict[str, GraphLoop] = {}  # of this process, by graph


class _Orphaned(Exception):
    """The graph's driver is gone."""


class _Sender:
    """Writes one step's values to all that want them."""

    def __init__(self, outlet: Outlet) -> None:
        self.ring = None if outlet.path is None else Ring(outlet.path)
        self._writers: list[Writer | RelayWriter] = [] if self.ring is None else [Writer(self.ring)]
        self._writers += [RelayWriter(relay, outlet.slots, outlet.size) for relay in outlet.relays]
        self._tensors = TensorSender(outlet.hint, outlet.slots, outlet.to_main_memory)

    def send(self, value: Any, name: str, check: Callable[[], None]) -> None:
        """Send a value, or the error that it cannot be sent."""
        if isinstance(value, Failed):
            self._send_error(value.packed, check)
            return
        try:
            packed = pack(self._tensors.prepare(value), f"the value that {name} returned")
            for writer in self._writers:
                writer.write(packed, None, check)
        except (ChannelClosed, _Orphaned):
            raise
        except Exception as error:  # not serialisable, too large: this execution's result
            self._send_error(pack_error(error, name), check)

    def _send_error(self, packed: bytes, check: Callable[[], None]) -> None:
        for writer in self._writers:
            size = writer.ring.size if isinstance(writer, Writer) else len(packed)
            if len(packed) > size:
                short = GraphError(f"an error of {len(packed):,} bytes does not fit into a channel's buffer")
                packed = pack_error(short, "channel")
            writer.write_bytes(ERROR, packed, None, check)


class GraphLoop:
    """One actor's part in one graph."""

    def __init__(self, instance: Any, plan: ActorPlan) -> None:
        self._instance = instance
        self._plan = plan
        self.failure = ""
        for hint in [each.hint for each in plan.inlets] + [
            step.outlet.hint for step in plan.steps if step.outlet is not None
        ]:
            if hint is not None:
                check_here(hint)
        self._rings = [Ring(inlet.path) for inlet in plan.inlets]
        readers = [Reader(ring, inlet.index) for ring, inlet in zip(self._rings, plan.inlets, strict=True)]
        self._readers: Sequence[Reader | Prefetcher] = readers
        if plan.overlap:
            self._readers = [Prefetcher(reader, self._check) for reader in readers]
        self._senders = [None if step.outlet is None else _Sender(step.outlet) for step in plan.steps]
        self._methods = [getattr(instance, step.method) if step.pick is None else None for step in plan.steps]
        self._work = [
            (step, method, sender, step.reads)
            for step, method, sender in zip(plan.steps, self._methods, self._senders, strict=True)
        ]
        try:
            self._event_loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._event_loop = None
        self._thread = threading.Thread(target=self._run, name=f"graph-{plan.graph[:8]}", daemon=True)
        self._looked = time.monotonic()

    def start(self) -> None:
        """Begin."""
        for reader in self._readers:
            if isinstance(reader, Prefetcher):
                reader.start()
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the loop goes on."""
        return self._thread.is_alive()

    def stop(self, seconds: float) -> bool:
        """Close the channels and wait for the loop to end; return whether it did."""
        self._close()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _close(self) -> None:
        for ring in self._rings:
            ring.close()
        for sender in self._senders:
            if sender is not None and sender.ring is not None:
                sender.ring.close()

    def _check(self) -> None:
        """Asked while waiting: let go of what is not used any more, and end if nobody will ever come."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        for reader in self._readers:
            reader.release()
        if self._rings[0].creator_is_gone():
            raise _Orphaned

    def _run(self) -> None:
        try:
            while True:
                self._execute()
        except (ChannelClosed, _Orphaned):
            pass
        except BaseException as error:  # the last line of the thread: whoever asks is told
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._close()

    def _execute(self) -> None:
        """Do all steps once."""
        values: list[Any] = [None] * self._plan.slots
        check = self._check
        for step, method, sender, reads in self._work:
            for number in reads:
                self._read(number, values)
            value = self._value(step, method, values)
            values[step.slot] = value
            if sender is not None:
                sender.send(value, step.name, check)
            del value
        del values
        for reader in self._readers:
            reader.release()

    def _read(self, number: int, values: list[Any]) -> None:
        inlet = self._plan.inlets[number]
        try:
            kind, value = self._readers[number].read(None, self._check)
            values[inlet.slot] = Failed(value) if kind == ERROR else receive(value, inlet.hint)
        except (ChannelClosed, _Orphaned):
            raise
        except Exception as error:  # it does not unpickle here: this execution's error
            values[inlet.slot] = Failed(pack_error(error, "channel"))

    def _value(self, step: Step, method: Any, values: list[Any]) -> Any:
        for slot in step.needs:
            if type(values[slot]) is Failed:
                return values[slot]
        try:
            if step.pick is not None:
                return values[step.needs[0]][step.pick]
            args = [fill(arg, values) for arg in step.args]
            if step.kwargs:
                value = method(*args, **{key: fill(arg, values) for key, arg in step.kwargs.items()})
            else:
                value = method(*args)
            if hasattr(type(value), "__await__"):
                value = self._await(value)
            if step.returns > 1:
                value = _several(value, step.returns)
            return value
        except BaseException as error:  # user code may raise anything: it is this execution's result
            packed = pack_error(error, step.name)
            error.__traceback__ = None  # its frames hold the arguments
            return Failed(packed)

    def _await(self, awaitable: Any) -> Any:
        """Run a coroutine in the actor's own event loop, where its other coroutines are."""

        async def wait() -> Any:
            return await awaitable

        if self._event_loop is None:
            return asyncio.run(wait())
        return asyncio.run_coroutine_threadsafe(wait(), self._event_loop).result()


def _several(value: Any, count: int) -> list[Any]:
    values = list(value)
    if len(values) != count:
        raise ValueError(f"num_returns={count}, but the call returned {len(values)} values")
    return values


# What the graph's driver calls in an actor: each gets the actor's instance first.


def begin(instance: Any, plan: ActorPlan) -> None:
    """Open the channels and start the loop."""
    loop = _loops[plan.graph] = GraphLoop(instance, plan)
    loop.start()


def trouble(instance: Any, graph: str) -> str:
    """Return why the graph cannot go on here; "" if it can."""
    loop = _loops.get(graph)
    if loop is None:
        return "its process was started anew, without the graph"
    return "" if loop.running else loop.failure or "its loop has ended"


def end(instance: Any, graph: str, seconds: float) -> bool:
    """End the loop and return whether it ended in time."""
    loop = _loops.pop(graph, None)
    return loop is None or loop.stop(seconds)
