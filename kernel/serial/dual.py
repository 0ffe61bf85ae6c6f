"""One exception of two classes: TaskError and the user's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MemberDescriptorType
from typing import Any, cast

from shoal.errors import TaskError

_FIELDS = ("function", "remote_traceback", "process", "node")


def dual_error(plain: TaskError, data: bytes, load: Callable[[bytes], BaseException]) -> TaskError:
    """Return an instance of both TaskError and the class of `plain.original`, or `plain` where that cannot be.

    Its `args` and attributes are the user's; where both classes have an attribute, the user's wins, except
    `original` and `remote_traceback`. It pickles as `load(data)`. Its cause is the original.
    """
    original = plain.original
    assert original is not None
    plain.__cause__ = original
    if not isinstance(original, Exception) or isinstance(original, TaskError):
        return plain
    try:
        error = _instance_of(_dual_class(cast(Any, type(original))), original)
        if not isinstance(error, TaskError):
            return plain
        state = error.__dict__
        for name in _FIELDS:
            state.setdefault(name, getattr(plain, name))
        state.update(
            original=original,
            remote_traceback=plain.remote_traceback,
            _shoal_text=TaskError.__str__(plain),
            _shoal_load=(load, data),
        )
        _set("__cause__", error, original)
        str(error)
    except Exception:  # a class that will not be subclassed or made without its own constructor
        return plain
    return error


@functools.lru_cache(maxsize=512)
def _dual_class(cls: Any) -> Any:
    name = f"TaskError({cls.__name__})"
    body = {
        "__module__": TaskError.__module__,
        "__qualname__": name,
        "__doc__": cls.__doc__,
        "__str__": _text,
        "__reduce__": _reduce,
        "__reduce_ex__": _reduce_ex,
        "__init__": _keep_arguments,
    }
    return type(cls)(name, (TaskError, cls), body)


def _text(self: Any) -> str:
    return str(self.__dict__["_shoal_text"])


def _reduce(self: Any) -> tuple[Any, ...]:
    load, data = self.__dict__["_shoal_load"]
    return load, (data,)


def _reduce_ex(self: Any, protocol: int) -> tuple[Any, ...]:
    return _reduce(self)


def _keep_arguments(self: Any, *args: Any, **kwargs: Any) -> None:
    """Both constructors want something else; the instance is filled from the original instead."""


def _builtin_base(cls: type) -> type:
    """Return the nearest built-in exception class: the only one whose constructor is known."""
    return next(base for base in cls.__mro__ if base.__module__ == "builtins")


def _instance_of(cls: type[BaseException], original: BaseException) -> BaseException:
    """Make an instance without running user code, with all that the original holds."""
    base = _builtin_base(type(original))
    error: BaseException = base.__new__(cls, *original.args)
    base.__init__(error, *original.args)  # type: ignore[misc]
    _copy_state(original, error)
    return error


def _copy_state(source: BaseException, target: BaseException) -> None:
    for cls in type(source).__mro__:
        # What a built-in exception keeps in C: errno and filename, a StopIteration's value, an ImportError's name.
        for name, member in vars(cls).items() if cls.__module__ == "builtins" else ():
            if type(member) is MemberDescriptorType:
                value = getattr(source, name, None)
                if value is not None and getattr(target, name, None) is not value:
                    _try_set(member, target, value)
        for name in _slot_names(cls):
            if hasattr(source, name):
                _try_set(cls.__dict__.get(name), target, getattr(source, name))
    target.__dict__.update(source.__dict__)
    _set("args", target, source.args)


def _try_set(member: Any, target: BaseException, value: Any) -> None:
    try:
        member.__set__(target, value)
    except (AttributeError, TypeError):  # read-only
        return


def _slot_names(cls: type) -> list[str]:
    names: Any = cls.__dict__.get("__slots__", ())
    names = (names,) if isinstance(names, str) else tuple(names)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def has_slots(cls: type) -> bool:
    """Tell whether instances keep anything outside their `__dict__` and `args`."""
    return any(_slot_names(owner) for owner in cls.__mro__)


def reduce_in_parts(error: BaseException) -> tuple[Any, ...]:
    """Return how to pickle an exception whose class pickles, but cannot be made again by calling it."""
    slots = {}
    for cls in type(error).__mro__:
        for name in _slot_names(cls):
            if hasattr(error, name):
                slots[name] = getattr(error, name)
    return recompose, (type(error), error.args, dict(error.__dict__), slots)


def recompose(
    cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any], slots: dict[str, Any]
) -> BaseException:
    """Make the exception again without calling its constructor. Raises what a strange class may raise."""
    base = _builtin_base(cls)
    error: BaseException = base.__new__(cls, *args)
    base.__init__(error, *args)  # type: ignore[misc]
    error.__dict__.update(state)
    for name, value in slots.items():
        for owner in cls.__mro__:
            if name in _slot_names(owner):
                _try_set(owner.__dict__[name], error, value)
                break
    _set("args", error, args)
    return error


def _set(name: str, error: BaseException, value: Any) -> None:
    """Set what BaseException keeps, past a user's __setattr__ (a frozen dataclass refuses)."""
    BaseException.__dict__[name].__set__(error, value)
