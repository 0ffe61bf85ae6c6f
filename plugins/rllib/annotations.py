"""Marks of how firm a name is, and of what is meant to be overridden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def PublicAPI(obj: T) -> T:  # noqa: N802
    """Mark what programs may rely on; return it.

    Example: `@PublicAPI` above a class
    """
    return _marked(obj, "public")


def DeveloperAPI(obj: T) -> T:  # noqa: N802
    """Mark what libraries may rely on; return it."""
    return _marked(obj, "developer")


def ExperimentalAPI(obj: T) -> T:  # noqa: N802
    """Mark what may change; return it."""
    return _marked(obj, "experimental")


def OldAPIStack(obj: T) -> T:  # noqa: N802
    """Mark what will go; return it."""
    return _marked(obj, "old")


def OverrideToImplementCustomLogic(obj: T) -> T:  # noqa: N802
    """Mark a method that subclasses may override; return it. `is_overridden` tells whether one does."""
    return _marked(obj, "overridable", "_meant_to_be_overridden", True)


def OverrideToImplementCustomLogic_CallToSuperRecommended(obj: T) -> T:  # noqa: N802
    """Mark a method that subclasses may override if they call it too; return it."""
    return _marked(obj, "overridable", "_meant_to_be_overridden", True)


def is_overridden(obj: Any) -> bool:
    """Return whether a method is another than the one that was marked to be overridden.

    Example: `is_overridden(module.setup)`
    """
    return not getattr(obj, "_meant_to_be_overridden", False)


def override(parent_cls: type) -> Callable[[T], T]:
    """Mark a method that overrides one of a class. Raises NameError if the class has none of that name.

    Example: `@override(Learner)` above a method
    """

    def check(method: T) -> T:
        name = getattr(method, "__name__", str(method))
        if not hasattr(parent_cls, name):
            raise NameError(f"{name} does not override any method of {parent_cls.__name__}")
        return method

    return check


def _marked(obj: T, stability: str, attribute: str = "_stability", value: Any = None) -> T:
    setattr(obj, attribute, stability if value is None else value)
    return obj
