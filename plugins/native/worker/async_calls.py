"""Calls of an async actor: tasks of one asyncio loop on the main thread, which serves the connections as well."""

from __future__ import annotations

import asyncio
import functools
import inspect
import selectors
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shoal.errors import ActorExit, TaskCancelled
from shoal.native.client.functions import STREAMING
from shoal.native.client.peers import Peer
from shoal.native.transport.spin import LONGEST_SPIN_SECONDS, Spin
from shoal.native.worker import calls
from shoal.native.worker.execution import Execution, running

if TYPE_CHECKING:
    from shoal.native.worker.actor_host import ActorHost
    from shoal.native.worker.worker import Worker


class AsyncCalls:
    """The loop of one actor. `sizes` says how many calls each concurrency group runs at once."""

    def __init__(self, worker: Worker, host: ActorHost, sizes: Mapping[str | None, int]) -> None:
        self._worker = worker
        self._host = host
        self._sizes = sizes
        self._has_groups = len(sizes) > 1
        self._semaphores: dict[str | None, asyncio.Semaphore] = {}
        self._flushing = False

    async def serve(self, begin: Callable[[], None]) -> None:
        """Serve calls until `stop`. `begin` is called when the loop takes them."""
        worker = self._worker
        self._loop = asyncio.get_running_loop()
        self._exit = asyncio.Event()
        self._semaphores = {group: asyncio.Semaphore(size) for group, size in self._sizes.items()}
        worker.reactor.attach_loop(self._loop)
        begin()
        try:
            await self._exit.wait()
        finally:
            worker.flush()
            worker.reactor.detach_loop()

    def accept(self, peer: Peer, item: list[Any]) -> None:
        """Take a call, in any thread."""
        if threading.get_ident() == self._worker._main:
            self._start(peer, item)
        else:
            self._loop.call_soon_threadsafe(self._start, peer, item)

    def cancel(self, execution: Execution) -> None:
        """Cancel a call that runs."""
        if execution.handle is not None:
            self._loop.call_soon_threadsafe(execution.handle.cancel)

    def stop(self) -> None:
        """Make `serve` end."""
        self._loop.call_soon_threadsafe(self._exit.set)

    def _start(self, peer: Peer, item: list[Any]) -> None:
        """Start a call in the loop. Runs in the loop's thread."""
        execution = Execution(
            item[0], peer, f"{self._host.class_name}.{item[1]}", item[3].get("a", 0) if item[3] else 0
        )
        self._worker.executions[peer.worker_id, item[0]] = execution
        execution.handle = self._loop.create_task(self._run(execution, item))

    async def _run(self, execution: Execution, item: list[Any]) -> None:
        counter, _name, _, _extra = item
        peer = execution.peer
        started = time.perf_counter()
        worker = self._worker
        running.set(execution)
        try:
            semaphore = (
                self._semaphores[self._host.group_of(item)] if self._has_groups else self._semaphores[None]
            )
            if semaphore.locked():
                async with semaphore:
                    await self._call(execution, item, started)
            else:
                await semaphore.acquire()
                try:
                    await self._call(execution, item, started)
                finally:
                    semaphore.release()
        except asyncio.CancelledError:
            error = TaskCancelled(f"{execution.name} was cancelled")
            calls.send_error(worker, peer, counter, started, error, execution.name, None)
        except BaseException as error:  # a name that is no method, a fault before the call
            calls.send_error(worker, peer, counter, started, error, execution.name, None)
        finally:
            worker.executions.pop((peer.worker_id, counter), None)
            self._flush_soon()

    async def _call(self, execution: Execution, item: list[Any], started: float) -> None:
        worker = self._worker
        counter, name, payload, extra = item
        peer = execution.peer
        mode, count, backpressure = calls.mode_of(extra)
        ids: list[bytes] | None = None
        args: Any = None
        kwargs: Any = None
        try:
            copied = extra is not None and worker.client.peers.in_cluster and await self._bring(extra)
            args, kwargs, ids = calls.load_arguments(worker, payload, extra)
            if copied:
                worker.client.pulls.discard(extra["o"])
            value = self._host.method(name)(*args, **kwargs)
            if calls.is_generated(mode):
                value = await self._run_generator(execution, value, mode, backpressure)
            elif inspect.isawaitable(value):
                value = await value
            args = kwargs = None
        except asyncio.CancelledError:
            if not execution.cancelled:
                calls.send_error(
                    worker,
                    peer,
                    counter,
                    started,
                    TaskCancelled("the call cancelled itself"),
                    execution.name,
                    ids,
                )
                return
            raise
        except (ActorExit, SystemExit) as error:
            self._host.leave(error)
        except BaseException as error:  # user code may raise anything: it is the call's result
            args = kwargs = None
            calls.send_error(worker, peer, counter, started, error, execution.name, ids)
        else:
            calls.send_value(worker, peer, counter, started, value, mode, count, ids, execution.name)

    async def _bring(self, extra: Mapping[str, Any]) -> bool:
        """Have what lies on other nodes copied here while the loop goes on. Returns whether to delete "o" once read."""
        client = self._worker.client
        stored = calls.stored_arguments(extra)
        values = client.pulls.missing(stored)
        packed = client.pulls.missing([(extra["o"], [extra["z"], extra["o"][:8]])]) if "o" in extra else []
        for missing, tell_owner in ((values, True), (packed, False)):
            if missing:
                there = asyncio.Event()
                with client.reactor.lock:
                    client.pulls.begin(missing, functools.partial(self._set_soon, there), tell_owner)
                self._flush_soon()
                await there.wait()
        return bool(packed)

    def _set_soon(self, event: asyncio.Event) -> None:
        self._loop.call_soon_threadsafe(event.set)

    async def _run_generator(self, execution: Execution, iterable: Any, mode: int, backpressure: int) -> int:
        sender = calls.ItemSender(self._worker, execution, backpressure if mode == STREAMING else 0)
        if inspect.isawaitable(iterable):
            iterable = await iterable
        if hasattr(iterable, "__aiter__"):
            async for value in iterable:
                sender.send(value)
                while not sender.may_go_on():
                    await asyncio.sleep(0.001)
                if execution.peer.gone:
                    break
        else:
            for value in iterable:
                sender.send(value)
                while not sender.may_go_on():
                    await asyncio.sleep(0.001)
        return sender.count

    def _flush_soon(self) -> None:
        """Send the answers of this turn of the loop together."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = False
        self._worker.flush()


class LookingSelector(selectors.EpollSelector):
    """An epoll selector that follows `Spin`'s choice, as the reactor does for threads that wait in it.

    Example: `asyncio.SelectorEventLoop(LookingSelector())`
    """

    def __init__(self) -> None:
        super().__init__()
        self._spin = Spin()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, waiting up to `timeout` seconds (None: without end; 0 or less: not at all)."""
        look: Any = super().select
        if timeout is not None and timeout <= 0:
            return look(timeout)  # type: ignore[no-any-return]
        now = time.perf_counter
        began = now()
        found = None
        if self._spin.spinning:
            end = began + LONGEST_SPIN_SECONDS
            while not found and now() < end:
                found = look(0)
        if not found:
            found = look(timeout)
        self._spin.waited(now() - began)
        return found  # type: ignore[no-any-return]


def run(main: Any, looking: bool) -> None:
    """Run a coroutine to its end in a new loop and close the loop, as asyncio.run does."""
    loop = asyncio.SelectorEventLoop(LookingSelector() if looking else None)
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(main)
    finally:
        try:
            rest = asyncio.all_tasks(loop)
            for task in rest:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
