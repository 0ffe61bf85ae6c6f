"""A plugin of mypy that knows actors: what a decorated class has, and what the methods of its handles take and return.

mypy ignores what a decorator makes of a class, and no annotation can say "a method of T, but with .remote". Enable it
in `pyproject.toml` with `[tool.mypy] plugins = ["shoal.mypy_plugin"]`. Without it, or with another type checker, the
arguments of actors' methods are checked at the call only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from mypy.nodes import (
    ARG_STAR,
    ARG_STAR2,
    ArgKind,
    Argument,
    CallExpr,
    Decorator,
    FuncDef,
    RefExpr,
    TypeInfo,
    Var,
)
from mypy.plugin import AttributeContext, ClassDefContext, MethodSigContext, Plugin
from mypy.plugins.common import add_method_to_class
from mypy.typeops import make_simplified_union
from mypy.types import (
    AnyType,
    CallableType,
    FunctionLike,
    Instance,
    Parameters,
    Type,
    TypeOfAny,
    get_proper_type,
)

_DECORATORS = frozenset({"shoal.remote", "shoal.api.remote.remote"})
_METHOD_OPTIONS = frozenset({"shoal.method", "shoal.api.remote.method"})
_HANDLE = "shoal.api.handle.ActorHandle"
_TYPED_METHOD = "shoal.api.handle.TypedMethod"
_ACTOR_CLASS = "shoal.api.actor_class.ActorClass"
_REFERENCE = "shoal.interfaces.refs.ObjectRef"
_STREAM = "shoal.interfaces.refs.ObjectRefGenerator"
_COROUTINES = frozenset({"typing.Coroutine", "types.CoroutineType"})


class ShoalPlugin(Plugin):
    """Gives decorated classes their `remote`, `options` and `bind`, and handles the methods of their class."""

    def get_class_decorator_hook_2(self, fullname: str) -> Callable[[ClassDefContext], bool] | None:
        return functools.partial(_decorate, self) if fullname in _DECORATORS else None

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        owner, _, name = fullname.rpartition(".")
        if owner == _HANDLE and not name.startswith("_"):
            return functools.partial(_method_of_handle, self, name)
        return None

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        return functools.partial(_creation, self) if fullname == f"{_ACTOR_CLASS}.remote" else None

    def make(self, fullname: str, args: list[Type]) -> Instance:
        """Return a class of ours with type arguments."""
        found = self.lookup_fully_qualified(fullname)
        if found is None or not isinstance(found.node, TypeInfo):
            raise RuntimeError(
                f"this plugin is of another version than the package shoal: there is no {fullname}"
            )
        return Instance(found.node, args)


def plugin(version: str) -> type[Plugin]:
    """Return the plugin's class: mypy calls this with its version."""
    return ShoalPlugin


def _decorate(plugin: ShoalPlugin, context: ClassDefContext) -> bool:
    """`@shoal.remote class A`: add what the decorator gives the class."""
    info, api = context.cls.info, context.api
    handle = plugin.make(_HANDLE, [Instance(info, [])])
    actor_class = plugin.make(_ACTOR_CLASS, [Instance(info, [])])
    anything = AnyType(TypeOfAny.explicit)
    more = [
        Argument(Var("args", anything), anything, None, ARG_STAR),
        Argument(Var("kwargs", anything), anything, None, ARG_STAR2),
    ]
    taken = _constructor_arguments(plugin, info, more)
    add_method_to_class(api, context.cls, "remote", taken, handle, is_classmethod=True)
    add_method_to_class(api, context.cls, "options", more[1:], actor_class, is_classmethod=True)
    add_method_to_class(api, context.cls, "bind", more, anything, is_classmethod=True)
    return True


def _constructor_arguments(plugin: ShoalPlugin, info: TypeInfo, anything: list[Argument]) -> list[Argument]:
    found = info.get("__init__")
    if found is None or not isinstance(found.node, FuncDef):
        return anything
    if found.node.info.fullname == "builtins.object":
        return []
    signature = get_proper_type(found.node.type)
    arguments = []
    for number, argument in enumerate(found.node.arguments[1:], 1):
        taken: Type = AnyType(TypeOfAny.unannotated)
        if isinstance(signature, CallableType):
            taken = signature.arg_types[number]
            taken = _or_reference(plugin, taken, argument.kind)
        arguments.append(Argument(argument.variable, taken, argument.initializer, argument.kind))
    return arguments


def _creation(plugin: ShoalPlugin, context: MethodSigContext) -> FunctionLike:
    """`ActorClass[A].remote`: it takes what the constructor of A takes."""
    here = get_proper_type(context.type)
    actor = get_proper_type(here.args[0]) if isinstance(here, Instance) and here.args else None
    signature = _signature(actor, "__init__") if isinstance(actor, Instance) else None
    if signature is None:
        return context.default_signature
    taken = _parameters(plugin, signature)
    return context.default_signature.copy_modified(
        arg_types=taken.arg_types, arg_kinds=taken.arg_kinds, arg_names=taken.arg_names
    )


def _method_of_handle(plugin: ShoalPlugin, name: str, context: AttributeContext) -> Type:
    """`handle.name`: the method of the actor's class, with `.remote`."""
    handle = get_proper_type(context.type)
    actor = get_proper_type(handle.args[0]) if isinstance(handle, Instance) and handle.args else None
    if not isinstance(actor, Instance) or actor.type.fullname == "builtins.object":
        return context.default_attr_type
    found = actor.type.get(name)
    if found is None:
        if actor.type.fallback_to_any or actor.type.has_readable_member("__getattr__"):
            return context.default_attr_type
        context.api.fail(f'The actor class "{actor.type.name}" has no method "{name}"', context.context)
        return AnyType(TypeOfAny.from_error)
    signature = _signature(actor, name)
    if signature is None:
        return context.default_attr_type
    result = _result(plugin, signature, found.node)
    return plugin.make(_TYPED_METHOD, [_parameters(plugin, signature), result])


def _signature(actor: Instance, name: str) -> CallableType | None:
    """Return the signature of a method without `self`, None if there is not exactly one that is known."""
    from mypy.expandtype import expand_type_by_instance  # imported first, it imports itself through others
    from mypy.maptype import map_instance_to_supertype

    found = actor.type.get(name)
    node = found.node if found is not None else None
    if not isinstance(node, FuncDef | Decorator) or found is None:
        return None
    signature = get_proper_type(found.type)
    if not isinstance(signature, CallableType):
        return None
    signature = expand_type_by_instance(signature, map_instance_to_supertype(actor, node.info))
    function = node.func if isinstance(node, Decorator) else node
    if function.is_static:
        return signature
    if not signature.arg_types:
        return None
    return signature.copy_modified(
        arg_types=signature.arg_types[1:],
        arg_kinds=signature.arg_kinds[1:],
        arg_names=signature.arg_names[1:],
    )


def _parameters(plugin: ShoalPlugin, signature: CallableType) -> Parameters:
    """Return its parameters; a reference may stand for any argument."""
    pairs = zip(signature.arg_types, signature.arg_kinds, strict=True)
    types = [_or_reference(plugin, taken, kind) for taken, kind in pairs]
    return Parameters(types, signature.arg_kinds, signature.arg_names)


def _or_reference(plugin: ShoalPlugin, taken: Type, kind: ArgKind) -> Type:
    return taken if kind.is_star() else make_simplified_union([taken, plugin.make(_REFERENCE, [taken])])


def _result(plugin: ShoalPlugin, signature: CallableType, node: object) -> Type:
    """Return what `.remote` of a method returns."""
    function = node.func if isinstance(node, Decorator) else node
    if isinstance(node, Decorator) and _gives("num_returns", node.original_decorators):
        return AnyType(TypeOfAny.explicit)  # a list, a generator, None: the number says it
    value = get_proper_type(signature.ret_type)
    if isinstance(function, FuncDef) and function.is_generator and isinstance(value, Instance) and value.args:
        return plugin.make(_STREAM, [value.args[0]])
    if isinstance(value, Instance) and value.type.fullname in _COROUTINES:
        value = get_proper_type(value.args[2])
    return plugin.make(_REFERENCE, [value])


def _gives(option: str, decorators: Iterable[object]) -> bool:
    return any(
        isinstance(each, CallExpr)
        and isinstance(each.callee, RefExpr)
        and each.callee.fullname in _METHOD_OPTIONS
        and option in each.arg_names
        for each in decorators
    )
