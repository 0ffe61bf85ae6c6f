"""The pool: a thread hands batches of calls to actors, and their results to whoever waits for them."""

from __future__ import annotations

import itertools
import os
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

import shoal
from shoal import ActorHandle
from shoal.errors import ActorError, describe
from shoal.interfaces.current import current
from shoal.util.multiprocessing.results import AsyncResult, Callback, IMapIterator, MapResult
from shoal.util.multiprocessing.worker import PoolWorker

_AHEAD = 2  # messages that a process has at once: it works on one while the other is on its way
_MESSAGE_SECONDS = 0.005  # quick batches go together, as many as take about this long
_MOST_TOGETHER = 256
_BATCHES = 4  # for each process, in a map without chunksize

_ROOM_SECONDS = 0.2  # how often an imap that is far ahead of its reader looks whether the pool was closed
_LOOK_SECONDS = 5.0  # how often an idle pool looks whether its session has ended

_OPEN, _CLOSED, _TERMINATED = "RUN", "CLOSE", "TERMINATE"


@attrs.define(eq=False)
class _Batch:
    function: Any
    items: Sequence[Any]
    how: str
    result: Any
    index: int = 0


@attrs.define(eq=False)
class _Process:
    actor: ActorHandle[Any]
    running: int = 0  # messages that it has
    served: int = 0  # batches that it was given
    seconds: float = _MESSAGE_SECONDS  # that a batch took lately


class Pool:
    """`multiprocessing.Pool` whose processes are actors, on all machines of the session.

    Parameters: `processes` defaults to the session's CPUs; `initializer(*initargs)` runs in each process as it starts;
    a process ends and is replaced after `maxtasksperchild` batches. `context` must be None or a context of the standard
    library, whose start methods do not apply to actors. `ray_address` (or `address`) names the session to join if there
    is none, and `ray_remote_args` (or `remote_args`) are options of the actors.

    A function that ends its process makes its own call raise ActorDied, not the pool hang.

    Example:
        with Pool(4) as pool:
            pool.map(abs, range(-3, 3))
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        *,
        address: str | None = None,
        remote_args: Mapping[str, Any] | None = None,
    ) -> None:
        if processes is not None and type(processes) is not int:
            raise TypeError(f"processes must be a whole number, not {describe(processes)}")
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if maxtasksperchild is not None and (type(maxtasksperchild) is not int or maxtasksperchild < 1):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if context is not None and not hasattr(context, "get_start_method"):
            raise TypeError(f"context must be None or a context of multiprocessing, not {describe(context)}")
        if not shoal.is_initialized():
            shoal.init(address if address is not None else ray_address)
        cpus = int(shoal.cluster_resources().get("CPU", 0)) or os.cpu_count() or 1
        count = processes if processes is not None else cpus
        # More processes than CPUs is a program's own choice, as with the standard library: they share.
        options = {"num_cpus": 1 if count <= cpus else 0, **(remote_args or ray_remote_args or {})}
        self._engine = current.engine
        self._class = shoal.remote(PoolWorker).options(**options)
        self._start_with = (initializer, tuple(initargs or ()))
        self._batches_each = maxtasksperchild
        self._lock = threading.Lock()
        self._state = _OPEN
        self._feeds = 0  # iterables that are still being read
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._pool: list[_Process] = [self._new_process() for _ in range(count)]
        self._thread = threading.Thread(target=self._serve, name="shoal-pool", daemon=True)
        self._thread.start()

    # Calls

    def apply(
        self, func: Callable[..., Any], args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function in a process and return the result. Raises what it raised."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult:
        """Call the function in a process; return what will have the result. Callbacks run in the pool's thread."""
        result = AsyncResult(callback, error_callback)
        self._submit([_Batch(func, [(tuple(args or ()), dict(kwargs or {}))], "apply", result)])
        return result

    def map(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[Any]:
        """Return the function's results on all items, in their order. Raises the first error.

        Items go to a process `chunksize` at a time; by default each process gets four parts.
        """
        return self.map_async(func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> MapResult:
        """Like `map`, and return at once what will have the results."""
        return self._map(func, iterable, "map", chunksize, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """Like `map`, with each item taken apart as the arguments of a call."""
        return self.starmap_async(func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> MapResult:
        """Like `starmap`, and return at once what will have the results."""
        return self._map(func, iterable, "starmap", chunksize, callback, error_callback)

    def imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> IMapIterator:
        """Return an iterator over the results in the order of the items, which are read in the pool's own thread."""
        return self._imap(func, iterable, chunksize, ordered=True)

    def imap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> IMapIterator:
        """Return an iterator over the results, each as soon as it is there."""
        return self._imap(func, iterable, chunksize, ordered=False)

    # Life

    def close(self) -> None:
        """Take no more calls; the processes end when those that there are have finished."""
        with self._lock:
            if self._state == _OPEN:
                self._state = _CLOSED
                self._events.put(None)

    def terminate(self) -> None:
        """End the processes now. Calls that have not finished raise ActorDied."""
        with self._lock:
            self._state = _TERMINATED
        self._events.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def join(self) -> None:
        """Wait until the processes have ended. Raises ValueError before `close()` or `terminate()`."""
        if self._state == _OPEN:
            raise ValueError("Pool is still running")
        self._thread.join()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        self.terminate()

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} state={self._state} pool_size={len(self._pool)}>"

    # Inside

    def _check_running(self) -> None:
        if self._state != _OPEN:
            raise ValueError("Pool not running")

    def _new_process(self) -> _Process:
        return _Process(self._class.remote(*self._start_with))

    def _map(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        how: str,
        chunksize: int | None,
        callback: Callback | None,
        error_callback: Callback | None,
    ) -> MapResult:
        self._check_running()
        items = iterable if isinstance(iterable, (list, tuple, range)) else list(iterable)
        if chunksize is None:
            chunksize = -(-len(items) // (len(self._pool) * _BATCHES)) or 1
        _check_chunk(chunksize)
        # Parts of lists are lists, and parts of ranges are ranges, which are small however long they are.
        parts = [items[start : start + chunksize] for start in range(0, len(items), chunksize)]
        result = MapResult(len(parts), callback, error_callback)
        self._submit([_Batch(func, part, how, result, index) for index, part in enumerate(parts)])
        return result

    def _imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None, ordered: bool
    ) -> IMapIterator:
        self._check_running()
        size = 1 if chunksize is None else chunksize
        _check_chunk(size)
        result = IMapIterator(ordered)
        with self._lock:
            self._check_running()
            self._feeds += 1
        feed = threading.Thread(
            target=self._feed, args=(func, iter(iterable), size, result), name="shoal-pool-feed", daemon=True
        )
        feed.start()
        return result

    def _feed(self, func: Any, items: Iterator[Any], size: int, result: IMapIterator) -> None:
        """Read an iterable of any length, ahead of whoever reads the results, but not without end."""
        index = 0
        try:
            while part := list(itertools.islice(items, size)):
                while self._state == _OPEN and not result._wait_for_room(_ROOM_SECONDS):
                    continue  # after close() it is all to be done, whether or not somebody reads
                if self._state == _TERMINATED:
                    break
                self._events.put([_Batch(func, part, "map", result, index)])
                index += 1
        except Exception as error:  # the iterable is user code
            result._take(index, [], error)
            index += 1
        result._close(index)
        with self._lock:
            self._feeds -= 1
        self._events.put(None)

    def _submit(self, batches: list[_Batch]) -> None:
        with self._lock:
            self._check_running()
            self._events.put(batches)

    def _serve(self) -> None:
        """The pool's thread: it alone knows what waits and which process has what."""
        waiting: deque[_Batch] = deque()
        running: _Running = {}
        while True:
            if self._state == _TERMINATED or (
                self._state == _CLOSED and not waiting and not running and not self._feeds
            ):
                break
            try:
                event = self._events.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                if current.engine is not self._engine:  # a pool that nobody closed ends with its session
                    self._state = _TERMINATED
                continue
            while True:
                if isinstance(event, list):
                    waiting.extend(event)
                elif event is not None:
                    self._take(*running.pop(event), event, running)
                try:
                    event = self._events.get_nowait()
                except queue.Empty:
                    break
            if self._state != _TERMINATED:
                self._hand_out(waiting, running)
        self._end(waiting, running)

    def _take(self, process: _Process, batches: list[_Batch], future: Any, running: _Running) -> None:
        """Give results to who waits for them."""
        process.running -= 1
        error = future.exception()
        if error is not None:
            if isinstance(error, ActorError) and process in self._pool:
                self._replace(process)
            for batch in batches:
                _deliver(batch, [], error)
            return
        process.seconds, found = future.result()
        if len(batches) == 1:
            _deliver(batches[0], found, None)
            return
        for batch, (fine, values) in zip(batches, found, strict=True):
            if fine:
                _deliver(batch, values, None)
            else:
                self._send(process, [batch], process.actor.fail.remote(values), running)

    def _hand_out(self, waiting: deque[_Batch], running: _Running) -> None:
        while waiting:
            process = min(self._pool, key=lambda one: one.running)
            if process.running >= _AHEAD:
                return
            together = min(
                len(waiting) // len(self._pool),
                int(_MESSAGE_SECONDS / max(process.seconds, 1e-6)),
                _MOST_TOGETHER,
            )
            if self._batches_each is not None:
                together = min(together, self._batches_each - process.served)
            batches = [waiting.popleft() for _ in range(max(together, 1))]
            try:
                if len(batches) == 1:
                    ref = process.actor.run.remote(batches[0].function, batches[0].items, batches[0].how)
                else:
                    calls = [(batch.function, batch.items, batch.how) for batch in batches]
                    ref = process.actor.run_several.remote(calls)
            except Exception as error:  # what cannot be pickled
                if len(batches) == 1:
                    _deliver(batches[0], [], error)
                else:  # find out which one it is
                    waiting.extendleft(reversed(batches))
                    process.seconds = _MESSAGE_SECONDS
                continue
            self._send(process, batches, ref, running)
            process.served += len(batches)
            if self._batches_each is not None and process.served >= self._batches_each:
                # It ends by itself after the batches that it has: nobody holds its handle then.
                self._replace(process)

    def _send(self, process: _Process, batches: list[_Batch], ref: Any, running: _Running) -> None:
        process.running += 1
        future = ref.future()
        running[future] = (process, batches)
        future.add_done_callback(self._events.put)

    def _replace(self, process: _Process) -> None:
        self._pool[self._pool.index(process)] = self._new_process()

    def _end(self, waiting: deque[_Batch], running: _Running) -> None:
        if self._state == _TERMINATED:
            error = ActorError("the pool was terminated before the call was finished")
            for batch in [*waiting, *(batch for _, batches in running.values() for batch in batches)]:
                _deliver(batch, [], error)
        processes = {id(process): process for process in self._pool}
        processes.update((id(process), process) for process, _ in running.values())
        if current.engine is self._engine and shoal.is_initialized():
            for process in processes.values():
                shoal.kill(process.actor)
        self._pool.clear()


_Running = dict[Any, tuple[_Process, list[_Batch]]]


def _deliver(batch: _Batch, values: list[Any], error: BaseException | None) -> None:
    try:
        batch.result._take(batch.index, values, error)
    except Exception:  # a callback is user code; its error must not end the pool
        traceback.print_exc()


def _check_chunk(chunksize: Any) -> None:
    if isinstance(chunksize, bool) or not isinstance(chunksize, int) or chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize!r}")
