"""Functions as trainables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from numbers import Number
from typing import TYPE_CHECKING, Any

from shoal.errors import describe
from shoal.tune.trainable.trainable import Trainable

if TYPE_CHECKING:
    from shoal.tune.session import Session

__all__ = ["DEFAULT_METRIC", "FunctionTrainable", "call_function", "check_function", "wrap_function"]

DEFAULT_METRIC = "_metric"  # of a function that returns a number


def check_function(function: Callable[..., Any]) -> bool:
    """Return whether a trainable function takes the configuration. Raises TypeError if it takes more than that.

    Example: `check_function(lambda config: None)  # True`
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of C
        return True
    positional = [
        each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    needed = [each.name for each in positional if each.default is each.empty]
    if len(needed) > 1:
        raise TypeError(
            f"a trainable function takes one argument, the configuration, not {len(needed)} ({', '.join(needed)}); "
            "tune.with_parameters(function, name=value) gives it more"
        )
    return bool(positional) or any(each.kind is each.VAR_POSITIONAL for each in parameters)


def call_function(function: Callable[..., Any], session: Session) -> None:
    """Run a trial of a function. What it returns or yields is reported: metrics, or a number."""
    config = session.order.config
    value = function(config) if check_function(function) else function()
    if inspect.isgenerator(value):
        for each in value:
            session.report(_metrics(each))
        return
    if value is None:
        return
    if isinstance(value, Mapping) or (isinstance(value, Number) and not isinstance(value, complex)):
        session.report(_metrics(value))


def _metrics(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Number):
        return {DEFAULT_METRIC: value}
    raise TypeError(f"a trainable function yields metrics or numbers, not {describe(value)}")


class FunctionTrainable(Trainable):
    """A trainable that is a function, as `wrap_function` makes one."""

    _function: Callable[..., Any]

    def execute(self, fn: Callable[[FunctionTrainable], Any]) -> Any:
        """Call a function with this object, in its process; return what it returns."""
        return fn(self)


def wrap_function(train_func: Callable[..., Any], name: str | None = None) -> type[FunctionTrainable]:
    """Return a class for a function, where one is asked for. Raises TypeError for what is no trainable function.

    Example: `wrap_function(lambda config: tune.report({"loss": 1}))`
    """
    if not callable(train_func):
        raise TypeError(f"a trainable must be a function or a class, not {describe(train_func)}")
    check_function(train_func)
    called = name or str(getattr(train_func, "__name__", "func"))
    return type(called, (FunctionTrainable,), {"_function": staticmethod(train_func)})
