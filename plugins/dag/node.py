"""A node of a graph: its arguments, the walk through those it needs, and running it as ordinary calls."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from shoal.dag.failures import GraphError
from shoal.dag.tensors import TensorHint, check_transport
from shoal.interfaces.graphs import GraphNode


def find_nodes(value: Any) -> Iterator[DAGNode]:
    """Yield the nodes in a value: itself, or inside lists, tuples, dictionaries and sets, at any depth."""
    if isinstance(value, DAGNode):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from find_nodes(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from find_nodes(item)


def replace_nodes(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return the value with each node in it changed; what holds no node stays the same object."""
    if isinstance(value, DAGNode):
        return change(value)
    if next(find_nodes(value), None) is None:
        return value
    if isinstance(value, Mapping):
        return {key: replace_nodes(item, change) for key, item in value.items()}
    items = [replace_nodes(item, change) for item in value]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*items)
    return type(value)(items)


class DAGInputData:
    """The input of an execution with several arguments: by position and by name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args = list(args)
        self._kwargs = kwargs

    def __getitem__(self, key: int | str) -> Any:
        """Return the argument with that position or name. Raises GraphError naming those there are."""
        try:
            return self._args[key] if isinstance(key, int) else self._kwargs[key]
        except (IndexError, KeyError):
            raise GraphError(
                f"the graph uses input {key!r}; execute() was given {len(self._args)} by position and "
                f"{', '.join(self._kwargs) or 'none'} by name"
            ) from None


class DAGNode(GraphNode):
    """One step. Arguments may be nodes, also inside lists, tuples and dictionaries."""

    is_input: ClassVar[bool] = False
    compiler: ClassVar[Callable[..., Any]]  # what compiles: `compiled.py` sets it, which knows nodes

    def __init__(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        other_args_to_resolve: Mapping[str, Any] | None = None,
    ) -> None:
        self._bound_args = tuple(args)
        self._bound_kwargs = dict(kwargs)
        self._bound_options = dict(options)
        self._bound_other = dict(other_args_to_resolve or {})
        self._uuid = uuid.uuid4().hex
        self._hint: TensorHint | None = None
        self._last: dict[str, Any] = {}

    # What it is made of

    def get_args(self) -> tuple[Any, ...]:
        """Return the positional arguments, nodes among them."""
        return self._bound_args

    def get_kwargs(self) -> dict[str, Any]:
        """Return the arguments by name, nodes among them."""
        return dict(self._bound_kwargs)

    def get_options(self) -> dict[str, Any]:
        """Return the options of the call."""
        return dict(self._bound_options)

    def get_other_args_to_resolve(self) -> dict[str, Any]:
        """Return what else the node depends on, by name."""
        return dict(self._bound_other)

    def get_stable_uuid(self) -> str:
        """Return an identifier that copies of the node share."""
        return self._uuid

    @property
    def upstream_nodes(self) -> list[DAGNode]:
        """The nodes that this one needs, each once, in the order of its arguments."""
        found = find_nodes((self._bound_args, self._bound_kwargs, tuple(self._bound_other.values())))
        return list(dict.fromkeys(found))

    @property
    def step_label(self) -> str:
        """What a picture of the graph calls it."""
        return type(self).__name__

    def __hash__(self) -> int:
        return hash(self._uuid)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DAGNode) and self._uuid == other._uuid

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.step_label})"

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{self!r} is one node; only a method with num_returns above 1 binds to several")

    # Tensors

    @property
    def type_hint(self) -> TensorHint | None:
        """What `with_tensor_transport` said of this node's value; None: nothing."""
        return self._hint

    def with_tensor_transport(
        self,
        transport: Any = "auto",
        device: Any = "default",
        _static_shape: bool = False,
        _direct_return: bool = False,
    ) -> DAGNode:
        """Say how tensors in this node's value travel in a compiled graph, and return the node.

        `transport`: "auto" ("cuda_ipc" for tensors on a CUDA device, else "shm"), "shm" (shared memory; a tensor on a
        device is copied to main memory), "cuda_ipc" (readers on the same machine copy it from device to device), or
        "nccl", which here means "cuda_ipc" too: channels between machines carry main memory only.
        `device`: "default" and "retain" leave a tensor where it comes, "cpu" and "cuda" put it there.
        Raises ConfigError for another transport or device.

        Example: `b.step.bind(a.step.bind(inp).with_tensor_transport("shm"))`
        """
        self._hint = check_transport(transport, device, _static_shape, _direct_return)
        return self

    def with_type_hint(self, typ: Any) -> DAGNode:
        """Do as `with_tensor_transport` with the transport of a `TorchTensorType`."""
        self._hint = check_transport(
            getattr(typ, "transport", typ), getattr(typ, "device", "default"), False, False
        )
        return self

    # Walking

    def all_nodes(self) -> list[DAGNode]:
        """Return all nodes of the graph that ends here, each once and after those it needs.

        Raises GraphError for a cycle, which only changing a node's arguments by hand can make.
        """
        order: dict[DAGNode, bool] = {}
        stack: list[tuple[DAGNode, Iterator[DAGNode]]] = [(self, iter(self.upstream_nodes))]
        order[self] = False
        while stack:
            node, parents = stack[-1]
            below = next(parents, None)
            if below is None:
                # Taken out and put in again, so that the order is that of finishing.
                del order[node]
                order[node] = True
                stack.pop()
            elif below not in order:
                order[below] = False
                stack.append((below, iter(below.upstream_nodes)))
            elif not order[below]:
                raise GraphError(f"the graph has a cycle: {below!r} needs {node!r}, which needs it")
        return list(order)

    def apply_recursive(self, fn: Callable[[DAGNode], Any]) -> Any:
        """Call `fn` on a copy of each node whose arguments are what `fn` returned for them; return the last."""
        results: dict[DAGNode, Any] = {}
        for node in self.all_nodes():
            results[node] = fn(node._with_parents(results.__getitem__))
        return results[self]

    def traverse_and_apply(self, fn: Callable[[DAGNode], Any]) -> None:
        """Call `fn` on each node, once."""
        for node in self.all_nodes():
            fn(node)

    def apply_functional(
        self,
        source_input_list: Any,
        predicate_fn: Callable[[Any], bool],
        apply_fn: Callable[[Any], Any],
    ) -> Any:
        """Return a nested list or dictionary with `apply_fn` done to what `predicate_fn` is true for."""
        if predicate_fn(source_input_list):
            return apply_fn(source_input_list)
        if isinstance(source_input_list, Mapping):
            return {
                key: self.apply_functional(item, predicate_fn, apply_fn)
                for key, item in source_input_list.items()
            }
        if isinstance(source_input_list, (list, tuple)):
            return type(source_input_list)(
                self.apply_functional(item, predicate_fn, apply_fn) for item in source_input_list
            )
        return source_input_list

    def _with_parents(self, change: Callable[[Any], Any]) -> DAGNode:
        """Return a copy with other arguments and the same identifier."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._bound_args = replace_nodes(self._bound_args, change)
        copied._bound_kwargs = replace_nodes(self._bound_kwargs, change)
        copied._bound_other = replace_nodes(self._bound_other, change)
        return copied

    # Running

    def execute(self, *args: Any, _ray_cache_refs: bool = False, **kwargs: Any) -> Any:
        """Run the graph once as ordinary calls, each node once, and return the reference to the last one's result.

        A MultiOutputNode gives a list of references. The arguments are what the graph's InputNode stands for.
        With `_ray_cache_refs`, `get_object_refs_from_last_execute` tells all references.
        Raises GraphError if the graph takes no input and some was given, or the reverse, and what submitting raises.

        Example: `shoal.get(graph.execute(5))`
        """
        order = self.all_nodes()
        has_input = any(node.is_input for node in order)
        if not has_input and (args or kwargs):
            raise GraphError("the graph has no InputNode, so execute() takes no arguments")
        if has_input and not (args or kwargs):
            raise GraphError("the graph has an InputNode, so execute() needs its value: graph.execute(value)")
        given = args[0] if len(args) == 1 and not kwargs else DAGInputData(*args, **kwargs)
        results: dict[DAGNode, Any] = {}
        for node in order:
            if node.is_input:
                results[node] = given
            else:
                results[node] = node._with_parents(results.__getitem__)._run()
        if _ray_cache_refs:
            self._last = {node.get_stable_uuid(): result for node, result in results.items()}
        return results[self]

    def _run(self) -> Any:
        """Submit the call; nodes in the arguments have been replaced."""
        raise NotImplementedError

    def get_object_refs_from_last_execute(self) -> dict[str, Any]:
        """Return what each node gave in the last `execute(_ray_cache_refs=True)`, by the nodes' identifiers."""
        return dict(self._last)

    def clear_cache(self) -> None:
        """Forget what `get_object_refs_from_last_execute` returns."""
        self._last = {}

    def experimental_compile(  # type: ignore[override]
        self,
        _submit_timeout: float | None = None,
        _buffer_size_bytes: int | None = None,
        enable_asyncio: bool = False,
        _max_inflight_executions: int | None = None,
        _max_buffered_results: int | None = None,
        _overlap_gpu_communication: bool | None = None,
        _default_communicator: Any = None,
    ) -> Any:
        """Prepare channels between the graph's actors and start a loop in each, and return what executes the graph.

        `_submit_timeout`: seconds that `execute` waits for room in a channel. `_buffer_size_bytes`: the largest value
        that a channel takes. `enable_asyncio`: `execute_async` instead of `execute`. `_max_inflight_executions`: how
        many executions may be under way. `_max_buffered_results`: how many results of earlier executions are kept while
        a later one is got. `_overlap_gpu_communication`: receive and unpickle the next input while computing.
        None is what `DAGContext` says. `_default_communicator` must be None or "create".
        Raises GraphError for a graph that cannot be compiled, naming the node, and ActorDied.

        Example:
            with graph.experimental_compile() as compiled:
                shoal.get(compiled.execute(1))
        """
        return type(self).compiler(
            self,
            _submit_timeout,
            _buffer_size_bytes,
            enable_asyncio,
            _max_inflight_executions,
            _max_buffered_results,
            _overlap_gpu_communication,
            _default_communicator,
        )
