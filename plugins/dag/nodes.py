"""Nodes of a graph: what `.bind()` makes. A node knows its arguments, so whoever holds the last holds the graph."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

import shoal
from shoal.dag.context import DAGContext
from shoal.dag.failures import GraphError
from shoal.dag.tensors import TensorHint, check_transport
from shoal.errors import describe
from shoal.interfaces.graphs import GraphNode

if TYPE_CHECKING:
    from shoal.dag.compiled import CompiledDAG

_ONE_INPUT = "a graph has one InputNode: make it once, `with InputNode() as inp:`, and use its parts"


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


class DAGNode(GraphNode):
    """One step. Arguments may be nodes, also inside lists, tuples and dictionaries."""

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
        has_input = any(isinstance(node, InputNode) for node in order)
        if not has_input and (args or kwargs):
            raise GraphError("the graph has no InputNode, so execute() takes no arguments")
        if has_input and not (args or kwargs):
            raise GraphError("the graph has an InputNode, so execute() needs its value: graph.execute(value)")
        given = args[0] if len(args) == 1 and not kwargs else DAGInputData(*args, **kwargs)
        results: dict[DAGNode, Any] = {}
        for node in order:
            if isinstance(node, InputNode):
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
    ) -> CompiledDAG:
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
        from shoal.dag.compiled import build_compiled_dag

        return build_compiled_dag(
            self,
            _submit_timeout,
            _buffer_size_bytes,
            enable_asyncio,
            _max_inflight_executions,
            _max_buffered_results,
            _overlap_gpu_communication,
            _default_communicator,
        )


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


class InputNode(DAGNode):
    """What `execute` is given. Used as `with InputNode() as inp:`; `inp[0]`, `inp.name` and `inp["name"]` are parts."""

    _INTERNAL = frozenset({"shape", "dtype"})  # asked for by libraries that look what an object is

    def __init__(
        self,
        *args: Any,
        input_type: Any = None,
        _other_args_to_resolve: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if args or kwargs:
            raise GraphError("InputNode() takes no values: they are given to execute()")
        super().__init__((), {}, {}, _other_args_to_resolve)
        self._input_type = input_type
        self._context: dict[str, Any] = {}

    def __enter__(self) -> InputNode:
        """Return the node itself, for the block that builds the graph. Raises GraphError inside another such block."""
        if getattr(_building, "inside", False):
            raise GraphError(_ONE_INPUT)
        _building.inside = True
        return self

    def __exit__(self, *args: Any) -> None:
        """End the block."""
        _building.inside = False

    def __getitem__(self, key: int | str) -> InputAttributeNode:
        """Return the node of one argument of `execute`, by position or name."""
        if isinstance(key, bool) or not isinstance(key, (int, str)):
            raise GraphError(f"a part of the input is named by a number or a name, not {describe(key)}")
        return InputAttributeNode(self, key, "__getitem__")

    def __getattr__(self, name: str) -> InputAttributeNode:
        if name.startswith("_"):
            raise AttributeError(name)
        return InputAttributeNode(self, name, "__getattr__")

    def set_context(self, key: str, val: Any) -> None:
        """Remember a value under a name, for who builds the graph."""
        self._context[key] = val

    def get_result_type(self) -> Any:
        """Return what `input_type` said."""
        return self._input_type


_building: Any = threading.local()


class InputAttributeNode(DAGNode):
    """One argument of `execute`, or an item or attribute of the only one."""

    def __init__(
        self, dag_input_node: InputNode, key: int | str, accessor_method: str, input_type: Any = None
    ) -> None:
        super().__init__((dag_input_node,), {}, {})
        self._key = key
        self._accessor = accessor_method
        self._input_type = input_type

    @property
    def key(self) -> int | str:
        """Its position or name."""
        return self._key

    @property
    def step_label(self) -> str:
        return f"input[{self._key!r}]"

    def get_result_type(self) -> Any:
        """Return what the input's `input_type` says of this part."""
        return self._input_type

    def _run(self) -> Any:
        return part_of(self._bound_args[0], self._key, self._accessor)


def part_of(given: Any, key: int | str, accessor: str) -> Any:
    """Return the part of an execution's input that a node names. Raises GraphError."""
    if isinstance(given, DAGInputData):
        return given[key]
    try:
        return getattr(given, str(key)) if accessor == "__getattr__" else given[key]
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        if key == 0:
            return given  # the only argument, and nothing that has items
        raise GraphError(f"the graph uses input {key!r}, which {describe(given)} does not have") from error


class FunctionNode(DAGNode):
    """A call of a remote function."""

    def __init__(
        self,
        func_body: Any,
        func_args: Sequence[Any],
        func_kwargs: Mapping[str, Any],
        func_options: Mapping[str, Any],
        other_args_to_resolve: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(func_args, func_kwargs, func_options, other_args_to_resolve)
        self._function = func_body if hasattr(func_body, "remote") else shoal.remote(func_body)

    @property
    def step_label(self) -> str:
        return f"{getattr(self._function, '__name__', 'function')}()"

    def options(self, **options: Any) -> FunctionNode:
        """Return the same call with other options of the task."""
        changed = self._function.options(**options)
        return FunctionNode(
            changed,
            self._bound_args,
            self._bound_kwargs,
            {**self._bound_options, **options},
            self._bound_other,
        )

    def _run(self) -> Any:
        return self._function.remote(*self._bound_args, **self._bound_kwargs)


class ClassNode(DAGNode):
    """An actor that is made when the graph runs. `node.method.bind(...)` is a call of it."""

    def __init__(
        self,
        cls: Any,
        cls_args: Sequence[Any],
        cls_kwargs: Mapping[str, Any],
        cls_options: Mapping[str, Any],
        other_args_to_resolve: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(cls_args, cls_kwargs, cls_options, other_args_to_resolve)
        self._class = cls if hasattr(cls, "remote") else shoal.remote(cls)

    @property
    def step_label(self) -> str:
        return f"{self._class.__name__}(…)"

    def __getattr__(self, name: str) -> UnboundMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        template = self.__dict__["_class"].template.methods.get(name)
        if template is None:
            known = ", ".join(sorted(self.__dict__["_class"].template.methods)) or "none"
            raise AttributeError(f"{self.step_label} has no method {name!r}; it has: {known}")
        return UnboundMethod(self, name, {}, template.num_returns)

    def make(self) -> Any:
        """Create the actor; nodes in its arguments have been replaced."""
        return self._class.remote(*self._bound_args, **self._bound_kwargs)

    def _run(self) -> Any:
        return self.make()


@attrs.frozen
class UnboundMethod:
    """A method of a ClassNode, waiting for its arguments."""

    parent: ClassNode
    name: str
    chosen: Mapping[str, Any]
    num_returns: Any

    def options(self, **options: Any) -> UnboundMethod:
        """Return the method with these options."""
        chosen = {**self.chosen, **options}
        return attrs.evolve(self, chosen=chosen, num_returns=options.get("num_returns", self.num_returns))

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """Return the node of the call, or a tuple of nodes for a method with several returns."""
        return method_nodes(None, None, self.parent, self.name, self.num_returns, args, kwargs, self.chosen)


class ClassMethodNode(DAGNode):
    """A call of an actor's method, or one of the values that such a call returns."""

    def __init__(
        self,
        method_name: str,
        method_args: Sequence[Any],
        method_kwargs: Mapping[str, Any],
        method_options: Mapping[str, Any],
        other_args_to_resolve: Mapping[str, Any],
    ) -> None:
        """`other_args_to_resolve` has the actor: "parent_class_node", a ClassNode or a handle; and of an output
        "class_method_call", the node of the call, and "class_method_output_idx"."""
        super().__init__(method_args, method_kwargs, method_options, other_args_to_resolve)
        self._name = method_name
        self._method: Any = None

    @property
    def is_class_method_call(self) -> bool:
        """Whether the node is a call."""
        return not self.is_class_method_output

    @property
    def is_class_method_output(self) -> bool:
        """Whether the node is one value of a call with several."""
        return IS_CLASS_METHOD_OUTPUT_KEY in self._bound_other

    @property
    def class_method_call(self) -> ClassMethodNode | None:
        """The call that this is an output of; None for a call itself."""
        found: ClassMethodNode | None = self._bound_other.get("class_method_call")
        return found

    @property
    def output_idx(self) -> int | None:
        """Which of the call's values this is; None for a call itself."""
        index: int | None = self._bound_other.get("class_method_output_idx")
        return index

    @property
    def num_returns(self) -> int:
        """How many values the call returns."""
        count = self._bound_options.get("num_returns", 1)
        return count if isinstance(count, int) else 1

    @property
    def actor(self) -> Any:
        """The handle or ClassNode that is called."""
        call = self.class_method_call
        return call.actor if call is not None else self._bound_other[PARENT_CLASS_NODE_KEY]

    @property
    def step_label(self) -> str:
        if self.is_class_method_output:
            assert self.class_method_call is not None
            return f"{self.class_method_call.step_label}[{self.output_idx}]"
        actor = self.actor
        name = actor.step_label if isinstance(actor, ClassNode) else getattr(actor, "_shoal_info", actor)
        return f"{getattr(name, 'class_name', name)}.{self._name}()"

    def get_method_name(self) -> str:
        """Return the method's name."""
        return self._name

    def options(self, **options: Any) -> ClassMethodNode:
        """Return the same call with other options of the method."""
        copied = self._with_parents(lambda node: node)
        copied._uuid = uuid.uuid4().hex
        assert isinstance(copied, ClassMethodNode)
        copied._bound_options = {**self._bound_options, **options}
        return copied

    def _run(self) -> Any:
        if self.is_class_method_output:
            return self._bound_other["class_method_call"][self._bound_other["class_method_output_idx"]]
        handle = self._bound_other[PARENT_CLASS_NODE_KEY]
        method = self._method if self._method is not None else getattr(handle, self._name)
        if self._bound_options:
            method = method.options(**self._bound_options)
        return method.remote(*self._bound_args, **self._bound_kwargs)


PARENT_CLASS_NODE_KEY = "parent_class_node"
PREV_CLASS_METHOD_CALL_KEY = "prev_class_method_call"
BIND_INDEX_KEY = "bind_index"
IS_CLASS_METHOD_OUTPUT_KEY = "is_class_method_output"
COLLECTIVE_OPERATION_KEY = "collective_operation"
DAGNODE_TYPE_KEY = "__dag_node_type__"


def method_nodes(
    handle: Any,
    method: Any,
    parent: ClassNode | None,
    name: str,
    num_returns: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Any:
    """Return the node of a method's call on a handle or a ClassNode, or a tuple of nodes for several returns."""
    other = {PARENT_CLASS_NODE_KEY: handle if parent is None else parent}
    several = isinstance(num_returns, int) and num_returns > 1
    chosen = {**options, "num_returns": num_returns} if several else dict(options)
    call = ClassMethodNode(name, args, kwargs, chosen, other)
    call._method = method
    if not several:
        return call
    return tuple(
        ClassMethodNode(
            f"return_idx_{index}",
            (),
            {},
            {},
            {"class_method_call": call, "class_method_output_idx": index, IS_CLASS_METHOD_OUTPUT_KEY: True},
        )
        for index in range(num_returns)
    )


class MultiOutputNode(DAGNode):
    """Several results of one execution: `MultiOutputNode([a, b])`."""

    def __init__(
        self, args: Iterable[DAGNode], other_args_to_resolve: Mapping[str, Any] | None = None
    ) -> None:
        outputs = [args] if isinstance(args, DAGNode) else list(args)
        given: list[Any] = list(outputs)
        wrong = next((item for item in given if not isinstance(item, DAGNode)), None)
        if wrong is not None or not outputs:
            raise GraphError(f"MultiOutputNode takes a list of nodes, not {describe(wrong or outputs)}")
        super().__init__((outputs,), {}, {}, other_args_to_resolve)

    @property
    def outputs(self) -> list[DAGNode]:
        """The nodes whose values are wanted."""
        return list(self._bound_args[0])

    def _run(self) -> Any:
        return self._bound_args[0]


__all__ = [
    "BIND_INDEX_KEY",
    "COLLECTIVE_OPERATION_KEY",
    "DAGNODE_TYPE_KEY",
    "IS_CLASS_METHOD_OUTPUT_KEY",
    "PARENT_CLASS_NODE_KEY",
    "PREV_CLASS_METHOD_CALL_KEY",
    "ClassMethodNode",
    "ClassNode",
    "DAGContext",
    "DAGInputData",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
    "UnboundMethod",
    "find_nodes",
    "method_nodes",
    "part_of",
    "replace_nodes",
]
