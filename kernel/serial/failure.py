"""Why a value cannot be pickled: a search for the smallest part that fails, made only after a failure."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

from shoal.errors import describe

TRIALS = 2_000  # parts that are tried before the search gives up
DEPTH = 30


def explain(value: Any, what: str, error: Exception) -> str:
    """Return `what`, the path to the part at fault, what pickle said about it and what to do."""
    if _is_too_deep(error):
        return (
            f"{what}: it is nested more deeply than Python's recursion limit of {sys.getrecursionlimit()} lets pickle "
            "go; flatten it, or raise sys.setrecursionlimit() in every process"
        )
    steps, culprit, reason = _Search().smallest(value, error)
    path = " → ".join([what, *steps])
    return f"{path}: {_say(reason)}. {_cure(culprit)}"


def blame_argument(
    function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
) -> str:
    """Return the explanation for the first argument of a call that cannot be pickled, under its parameter's name."""
    names = _parameter_names(function, len(args))
    search = _Search()
    for label, value in [
        *zip(names, args, strict=True),
        *((repr(key), item) for key, item in kwargs.items()),
    ]:
        failure = search.try_out(value)
        if failure is not None:
            return explain(value, f"argument {label} of {name}()", failure)
    return str(error)


def _parameter_names(function: Callable[..., Any], count: int) -> list[str]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    if parameters and parameters[0].name == "self":
        del parameters[0]
    names: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [repr(f"{parameter.name}[{index}]") for index in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(repr(parameter.name))
    names += [f"number {index}" for index in range(len(names), count)]
    return names[:count]


def culprits(value: Any, depth: int) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield (steps, part, what holds it) for each smallest part at fault, at most `depth` steps down."""
    yield from _Search().all_culprits(value, None, (), depth)


class _Search:
    """Goes down from a value that fails to a part of it that fails although all of its own parts can be pickled."""

    def __init__(self) -> None:
        self._trials = TRIALS
        self._seen: set[int] = set()

    def try_out(self, value: Any) -> Exception | None:
        from shoal.serial.pickler import ValuePickler

        self._trials -= 1
        try:
            ValuePickler(io.BytesIO(), [], lambda buffer: None).dump(value)
        except Exception as error:  # a stranger's __reduce__ may raise anything
            return error
        return None

    def smallest(self, value: Any, error: Exception) -> tuple[list[str], Any, Exception]:
        steps: list[str] = []
        while len(steps) < DEPTH:
            self._seen.add(id(value))
            for step, part in _parts(value):
                if self._trials <= 0:
                    return steps, value, error
                if id(part) in self._seen:
                    continue
                failure = self.try_out(part)
                if failure is not None and not _is_too_deep(failure):
                    steps.append(step)
                    value, error = part, failure
                    break
            else:
                break
        return steps, value, error

    def all_culprits(
        self, value: Any, parent: Any, steps: tuple[str, ...], depth: int
    ) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
        self._seen.add(id(value))
        deeper = False
        for step, part in _parts(value) if depth > 0 else ():
            if self._trials <= 0:
                break
            if id(part) not in self._seen and self.try_out(part) is not None:
                deeper = True
                yield from self.all_culprits(part, value, (*steps, step), depth - 1)
        if not deeper:
            yield steps, value, parent


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts that pickle would visit, each with how a person names it."""
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield f"[{describe(key, 40)}]", item
            yield f"key {describe(key, 40)}", key
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif isinstance(value, (set, frozenset)):
        for item in list(value):
            yield f"element {describe(item, 40)}", item
    elif inspect.isfunction(value):
        yield from _parts_of_function(value)
    elif inspect.ismethod(value):
        yield "the object that it is bound to", value.__self__
    elif isinstance(value, type):
        for name, item in list(vars(value).items()):
            if isinstance(item, (staticmethod, classmethod)):
                item = item.__func__
            if not name.startswith("__") or inspect.isfunction(item):
                yield f"class attribute {name!r}", item
    if not isinstance(value, type) and not inspect.isfunction(value):
        yield from _attributes(value)


def _parts_of_function(function: Any) -> Iterator[tuple[str, Any]]:
    try:
        captured = inspect.getclosurevars(function)
    except (TypeError, ValueError):
        return
    for name, item in captured.nonlocals.items():
        yield f"captured variable {name!r}", item
    for name, item in captured.globals.items():
        yield f"global {name!r}", item
    for index, item in enumerate(function.__defaults__ or ()):
        yield f"default {index}", item
    for name, item in (function.__kwdefaults__ or {}).items():
        yield f"default of {name!r}", item


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    state = getattr(value, "__dict__", None)
    if type(state) is dict:
        for name, item in list(state.items()):
            yield f"attribute {name!r}", item
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield f"attribute {name!r}", getattr(value, name)


def _is_too_deep(error: Exception) -> bool:
    return isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)


def _say(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.rstrip(".")


def _cure(culprit: Any) -> str:
    from shoal.interfaces.refs import ObjectRefGenerator

    if isinstance(culprit, ObjectRefGenerator):
        return "Pass the references that it yields."
    if inspect.isgenerator(culprit) or inspect.iscoroutine(culprit):
        return "Pass a list of what it yields, or make it inside the task."
    return (
        f"Make the {type(culprit).__name__} inside the task or actor, leave it out with __getstate__, "
        "or pass what it is made from."
    )
