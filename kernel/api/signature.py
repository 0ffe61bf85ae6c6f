"""Whether arguments fit a function, told at the call: cheaply when they plainly do."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_ANY = 1 << 30


class Arguments:
    """What a callable takes. With no keywords and `least` ≤ positional arguments ≤ `most`, they fit.

    `bound` positional parameters (self) are supplied by someone else. A callable without a Python signature takes
    anything here; it complains where it runs.
    """

    __slots__ = ("_bound", "_function", "_keywords", "_signature", "least", "most")

    least: int
    most: int

    def __init__(self, function: Callable[..., Any] | None, bound: int = 0) -> None:
        self._function = function
        self._bound = bound
        self._signature: inspect.Signature | None = None
        self._keywords: dict[int, tuple[frozenset[str], frozenset[str]]] = {}
        self.least, self.most = 0, _ANY
        code = getattr(function, "__code__", None)
        if code is None or not inspect.isfunction(function):
            self._function = None
            return
        if not code.co_flags & inspect.CO_VARARGS:
            self.most = code.co_argcount - bound
        if code.co_kwonlyargcount > len(function.__kwdefaults__ or ()):
            self.least = _ANY  # a keyword is required: never fits without looking at keywords
        else:
            self.least = max(code.co_argcount - len(function.__defaults__ or ()) - bound, 0)

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> None:
        """Raise TypeError as a local call would, with the name of what was called."""
        if self._function is None:
            return
        count = len(args)
        if count <= self.most:
            known = self._keywords.get(count)
            if known is None:
                known = self._keywords[count] = self._keywords_after(count)
            required, allowed = known
            if required <= kwargs.keys() <= allowed:
                return
        if self._signature is None:
            self._signature = inspect.signature(self._function, follow_wrapped=False)
        code: Any = self._function.__code__
        first_default = code.co_argcount - len(self._function.__defaults__ or ())
        # bind() of Python 3.13.0 takes a keyword of **more for a positional-only parameter of the same name.
        if self._bound + count < min(code.co_posonlyargcount, first_default):
            missing = code.co_varnames[self._bound + count]
            raise TypeError(f"{name}{self._signature}: missing a required argument: {missing!r}")
        try:
            self._signature.bind(*(None,) * self._bound, *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}{self._signature}: {error}") from None

    def _keywords_after(self, count: int) -> tuple[frozenset[str], frozenset[str]]:
        """Return the names that must, and that may, be given as keywords after `count` positional arguments."""
        function: Any = self._function
        code = function.__code__
        positional = code.co_varnames[: code.co_argcount]
        first_default = code.co_argcount - len(function.__defaults__ or ())
        keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        start = self._bound + count
        required = {*positional[start:first_default], *keyword_only} - set(function.__kwdefaults__ or ())
        by_name = positional[max(start, code.co_posonlyargcount) :]
        return frozenset(required), frozenset((*by_name, *keyword_only))


ANYTHING: Arguments = Arguments(None)


def of_constructor(cls: type) -> Arguments:
    """Return what `cls(...)` takes."""
    init: Any = cls.__init__  # type: ignore[misc]
    new: Any = cls.__new__
    if inspect.isfunction(init):
        return Arguments(init, bound=1)
    if init is object.__init__ and new is object.__new__:
        return Arguments(_nothing)
    return ANYTHING


def of_method(cls: type, name: str) -> Arguments:
    """Return what the method takes when called on an instance."""
    member = inspect.getattr_static(cls, name, None)
    if isinstance(member, staticmethod):
        return Arguments(member.__func__)
    if isinstance(member, classmethod):
        return Arguments(member.__func__, bound=1)
    return Arguments(member, bound=1)


def _nothing() -> None:
    """Stand for a constructor without parameters."""
