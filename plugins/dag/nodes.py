"""The calls that a graph is made of: of functions and of methods, new actors, and several results."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

import shoal
from shoal.dag.failures import GraphError
from shoal.dag.node import DAGNode
from shoal.errors import describe


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
