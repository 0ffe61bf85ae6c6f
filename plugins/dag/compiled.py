"""Compiled graphs as their driver has them: executing, getting results, ending."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
import time
import uuid
from collections import deque
from collections.abc import Generator
from typing import Any

import shoal
from shoal.dag.backend import Backend, Outcome
from shoal.dag.calls import CalledGraph
from shoal.dag.channels import ChannelSet
from shoal.dag.context import DAGContext
from shoal.dag.failures import CapacityExceeded, ChannelClosed, ChannelTimeout, GraphError
from shoal.dag.node import DAGNode
from shoal.dag.plan import Graph, check_graph, with_actors
from shoal.dag.visualize import as_dot, as_text, render
from shoal.errors import ConfigError, describe
from shoal.interfaces.graphs import DeferredValue

_IDLE_SECONDS = 0.5  # between looks of the reading thread whether the graph still lives


class CompiledDAGRef(DeferredValue):
    """The result of one execution, or one of several. `shoal.get(ref)` or `ref.get()` returns it.

    Dropping it without getting it lets the graph throw the result away.
    """

    def __init__(self, dag: CompiledDAG, execution: int, output: int) -> None:
        self._dag = dag
        self._execution = execution
        self._output = output
        self._outcome: Outcome | None = None

    def get(self, timeout: float | None = None) -> Any:
        """Return the value, again and again if asked. None waits as long as the context's `get_timeout`.

        Raises what a method raised, ChannelTimeout (a GetTimeout), ActorDied, CapacityExceeded, ChannelClosed.
        """
        if self._outcome is None:
            self._outcome = self._dag._take(self._execution, self._output, timeout)
        return self._outcome.take()

    def __repr__(self) -> str:
        return f"CompiledDAGRef({self._dag.get_id()[:8]}, execution {self._execution}, output {self._output})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "the result of a compiled graph belongs to the process that executed it: get() it and pass on its value"
        )

    def __del__(self) -> None:
        if self._outcome is None:
            self._dag._dropped.append((self._execution, self._output))


class CompiledDAGFuture:
    """The result of one execution of an asyncio graph: await it, once or more."""

    def __init__(self, dag: CompiledDAG, execution: int, output: int, future: asyncio.Future[Any]) -> None:
        self._dag = dag
        self._execution = execution
        self._output = output
        self._future = future

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.shield(self._future).__await__()

    def __repr__(self) -> str:
        return (
            f"CompiledDAGFuture({self._dag.get_id()[:8]}, execution {self._execution}, output {self._output})"
        )


class CompiledDAG:
    """A graph whose channels are laid and whose actors run their loops. Made by `experimental_compile()`.

    Threads may share it. `with` tears it down at the end of its block; so does losing it, without waiting.
    """

    def __init__(
        self,
        submit_timeout: float | None = None,
        buffer_size_bytes: int | None = None,
        enable_asyncio: bool = False,
        max_inflight_executions: int | None = None,
        max_buffered_results: int | None = None,
        overlap_gpu_communication: bool | None = None,
        default_communicator: Any = "create",
    ) -> None:
        """None is what `DAGContext` says. Raises ConfigError for a value that is none."""
        if default_communicator not in (None, "create"):
            raise ConfigError(
                f"_default_communicator must be None or 'create', not {describe(default_communicator)}: collective "
                "operations inside of compiled graphs are not here; methods can use shoal.util.collective"
            )
        now = DAGContext.get_current()
        given: dict[str, Any] = {
            "submit_timeout": submit_timeout,
            "buffer_size_bytes": buffer_size_bytes,
            "max_inflight_executions": max_inflight_executions,
            "max_buffered_results": max_buffered_results,
            "overlap_gpu_communication": overlap_gpu_communication,
        }
        values: dict[str, Any] = {
            name: getattr(now, name) if value is None else value for name, value in given.items()
        }
        self._context = DAGContext(
            get_timeout=now.get_timeout,
            teardown_timeout=now.teardown_timeout,
            read_iteration_timeout=now.read_iteration_timeout,
            **values,
        )
        self._asyncio = bool(enable_asyncio)
        self._id = uuid.uuid4().hex
        self._backend: Backend | None = None
        self._graph: Graph | None = None
        self._shape: DAGNode | None = None
        self._submitting = threading.Lock()
        self._reading = threading.Lock()
        self._changed = threading.Condition()
        self._submitted = 0
        self._read = 0
        self._closed = False
        self._failed: BaseException | None = None
        self._results: dict[int, dict[int, Outcome]] = {}
        self._dropped: deque[tuple[int, int]] = deque()  # appended to by destructors, which must take no lock
        self._gone: dict[int, int] = {}  # outputs that nobody wants, of executions not yet read
        self._futures: dict[int, tuple[asyncio.AbstractEventLoop, list[asyncio.Future[Any]]]] = {}
        self._thread: threading.Thread | None = None

    def _compile(self, root: DAGNode) -> None:
        if not isinstance(root, DAGNode):
            raise GraphError(f"a compiled graph is made of a node, not of {describe(root)}")
        check_graph(root)  # before actors are made for it
        shape, made = with_actors(root)
        self._shape = root
        self._graph = graph = check_graph(shape)
        context = self._context
        if shoal.get_runtime_context().get_shared_folder():
            self._backend = ChannelSet(
                graph,
                made,
                self._id,
                context.max_inflight_executions
                + 1,  # one more, so that an actor can keep its last input's arrays
                context.buffer_size_bytes,
                context.overlap_gpu_communication,
                context,
            )
        else:
            self._backend = CalledGraph(graph, made)
        if self._asyncio:
            self._thread = threading.Thread(
                target=self._serve, name=f"graph-results-{self._id[:8]}", daemon=True
            )
            self._thread.start()

    # Executing

    def execute(self, *args: Any, **kwargs: Any) -> CompiledDAGRef | list[CompiledDAGRef]:
        """Begin one execution and return the reference to its result, or a list of them for a MultiOutputNode.

        Raises CapacityExceeded if `max_inflight_executions` are under way, ChannelTimeout if no room came within
        `submit_timeout`, NotSerializable and ValueTooLarge for an input, ActorDied, ChannelClosed after teardown.

        Example: `shoal.get(compiled.execute(1))`
        """
        if self._asyncio:
            raise GraphError(
                "the graph was compiled with enable_asyncio=True: use `await execute_async(...)`"
            )
        execution = self._submit(args, kwargs)
        assert self._graph is not None
        refs = [CompiledDAGRef(self, execution, output) for output in range(len(self._graph.outputs))]
        return refs if self._graph.several else refs[0]

    async def execute_async(self, *args: Any, **kwargs: Any) -> CompiledDAGFuture | list[CompiledDAGFuture]:
        """Begin one execution and return its future, or a list of them, to be awaited. Raises as `execute` does.

        Example: `result = await (await compiled.execute_async(1))`
        """
        if not self._asyncio:
            raise GraphError("execute_async() needs a graph that was compiled with enable_asyncio=True")
        loop = asyncio.get_running_loop()
        assert self._graph is not None
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in self._graph.outputs]
        if self._backend is not None and self._backend.has_room():
            execution = self._submit(args, kwargs, (loop, futures))
        else:
            execution = await loop.run_in_executor(None, self._submit, args, kwargs, (loop, futures))
        made = [CompiledDAGFuture(self, execution, output, each) for output, each in enumerate(futures)]
        return made if self._graph.several else made[0]

    def _submit(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        futures: tuple[asyncio.AbstractEventLoop, list[asyncio.Future[Any]]] | None = None,
    ) -> int:
        with self._submitting:
            backend = self._open_backend()
            limit = self._context.max_inflight_executions
            if self._submitted - self._read >= limit:
                self._read_unwanted()
            if self._submitted - self._read >= limit:
                raise CapacityExceeded(
                    f"{limit} executions are under way, as many as the graph was compiled for: get a result first, or "
                    "compile with a larger _max_inflight_executions"
                )
            execution = self._submitted
            if futures is not None:
                self._futures[execution] = futures
            try:
                backend.submit(args, kwargs, self._context.submit_timeout)
            except BaseException:
                self._futures.pop(execution, None)
                raise
            self._submitted += 1
            if futures is not None:
                with self._changed:
                    self._changed.notify_all()
            return execution

    def _open_backend(self) -> Backend:
        if self._failed is not None:
            raise copy.copy(self._failed)
        if self._closed or self._backend is None:
            raise ChannelClosed("the compiled graph was torn down: compile it again")
        return self._backend

    # Results

    def _take(self, execution: int, output: int, timeout: float | None) -> Outcome:
        """Return one outcome, reading those of earlier executions first."""
        seconds = self._context.get_timeout if timeout is None else timeout
        end = time.monotonic() + seconds
        if not self._reading.acquire(timeout=seconds):
            raise ChannelTimeout(
                f"nothing came within {seconds:g} s: another thread waits for the graph's results"
            )
        try:
            if self._dropped:
                self._forget_dropped()
            while execution not in self._results:
                if self._read < execution and len(self._results) >= self._context.max_buffered_results:
                    raise CapacityExceeded(
                        f"{len(self._results)} results of earlier executions wait to be got, as many as the graph was "
                        "compiled for: get those first, or compile with a larger _max_buffered_results"
                    )
                self._read_one(max(end - time.monotonic(), 0.0))
            outcomes = self._results[execution]
            outcome = outcomes.pop(output)
            if not outcomes:
                del self._results[execution]
            return outcome
        finally:
            self._reading.release()

    def _read_one(self, timeout: float | None) -> None:
        """Read the oldest execution's outcomes. The reading lock is held."""
        backend = self._open_backend()
        try:
            outcomes = backend.read(timeout)
        except (ChannelTimeout, ChannelClosed):
            raise
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt):
                self._failed = copy.copy(error)
            raise
        execution = self._read
        self._read += 1
        self._results[execution] = dict(enumerate(outcomes))
        if self._dropped:
            self._forget_dropped()

    def _forget_dropped(self) -> None:
        """Throw away the outcomes whose references were dropped. The reading lock is held."""
        again = []
        while self._dropped:
            execution, output = self._dropped.popleft()
            if execution >= self._read:
                again.append((execution, output))
                continue
            outcomes = self._results.get(execution)
            if outcomes is not None:
                outcomes.pop(output, None)
                if not outcomes:
                    del self._results[execution]
        self._dropped.extend(again)

    def _read_unwanted(self) -> None:
        """Read the oldest executions if all their references were dropped: they count no longer."""
        assert self._graph is not None
        count = len(self._graph.outputs)
        with self._reading:
            while sum(execution == self._read for execution, _ in list(self._dropped)) == count:
                self._read_one(self._context.submit_timeout)

    def _serve(self) -> None:
        """The thread that gives results to the futures of an asyncio graph."""
        while True:
            with self._changed:
                while self._read >= self._submitted and not self._closed:
                    self._changed.wait(_IDLE_SECONDS)
            if self._closed:
                break
            try:
                with self._reading:
                    self._read_one(_IDLE_SECONDS)
                    execution = self._read - 1
                    outcomes = self._results.pop(execution)
            except ChannelTimeout:
                continue
            except BaseException as error:  # the graph is broken: whoever waits is told
                self._fail_futures(error)
                return
            loop, futures = self._futures.pop(execution)
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(_settle, futures, outcomes)
            del outcomes, futures
        self._fail_futures(ChannelClosed("the compiled graph was torn down"))

    def _fail_futures(self, error: BaseException) -> None:
        while self._futures:
            _, (loop, futures) = self._futures.popitem()
            outcomes = {index: Outcome(error=error) for index in range(len(futures))}
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, futures, outcomes)

    # Looking and ending

    def get_id(self) -> str:
        """Return the graph's identifier."""
        return self._id

    @property
    def is_teardown(self) -> bool:
        """Whether the graph was torn down."""
        return self._closed

    def visualize(
        self,
        filename: str = "compiled_graph",
        format: str = "png",  # noqa: A002  the reference's name
        view: bool = False,
        channel_details: bool = False,
    ) -> str:
        """Return a picture of the graph and, but for "ascii", draw it into the file `filename.format`.

        `format`: "ascii" (text), "dot" (Graphviz source), or what Graphviz's program `dot` can draw: png, svg, pdf.
        `view` opens the file. `channel_details` writes at each line what carries the value.
        Returns the text, or the Graphviz source. Raises ConfigError if `dot` is needed and not installed.

        Example: `print(compiled.visualize(format="ascii"))`
        """
        assert self._shape is not None
        if format == "ascii":
            return as_text(self._shape)
        source = as_dot(self._shape, channel_details)
        render(source, filename, format, view)
        return source

    def teardown(self, kill_actors: bool = False) -> None:
        """End the loops in the actors and take the channels away; results that were not got are lost.

        The actors live on, unless `kill_actors`. Waits up to the context's `teardown_timeout` for methods that run.
        A second call does nothing.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        if self._backend is not None:
            self._backend.close(self._context.teardown_timeout, kill_actors)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(self._context.teardown_timeout)

    def __enter__(self) -> CompiledDAG:
        return self

    def __exit__(self, *exc: object) -> None:
        self.teardown()

    def __del__(self) -> None:
        backend = self.__dict__.get("_backend")
        if backend is not None and not self._closed:
            self._closed = True
            backend.abandon()

    def __repr__(self) -> str:
        return f"CompiledDAG({self._id[:8]}, {'torn down' if self._closed else 'ready'})"


def _settle(futures: list[asyncio.Future[Any]], outcomes: dict[int, Outcome]) -> None:
    for index, future in enumerate(futures):
        if future.done():
            continue
        outcome = outcomes[index]
        if outcome.error is not None:
            future.set_exception(outcome.error)
            future.exception()  # looked at: nobody has to await every output
        else:
            future.set_result(outcome.value)


def build_compiled_dag(
    dag: DAGNode,
    submit_timeout: float | None = None,
    buffer_size_bytes: int | None = None,
    enable_asyncio: bool = False,
    max_inflight_executions: int | None = None,
    max_buffered_results: int | None = None,
    overlap_gpu_communication: bool | None = None,
    default_communicator: Any = None,
) -> CompiledDAG:
    """Do what `dag.experimental_compile` does."""
    compiled = CompiledDAG(
        submit_timeout,
        buffer_size_bytes,
        enable_asyncio,
        max_inflight_executions,
        max_buffered_results,
        overlap_gpu_communication,
        default_communicator,
    )
    compiled._compile(dag)
    return compiled


DAGNode.compiler = staticmethod(build_compiled_dag)
