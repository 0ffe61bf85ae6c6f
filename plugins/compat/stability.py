"""Marks of how stable a name is, for libraries that decorate theirs with the reference's."""

from __future__ import annotations

import enum
from typing import Any


class AnnotationType(enum.Enum):
    """How stable an annotated name is."""

    PUBLIC_API = "PublicAPI"
    DEVELOPER_API = "DeveloperAPI"
    DEPRECATED = "Deprecated"
    UNKNOWN = "Unknown"


class RayDeprecationWarning(DeprecationWarning):
    """A name will go."""


def _mark(target: Any, kind: AnnotationType, note: str) -> Any:
    target._annotated = target.__name__
    target._annotated_type = kind
    target.__doc__ = f"{target.__doc__ or ''}\n\n{note}".strip()
    return target


def PublicAPI(*args: Any, **kwargs: Any) -> Any:  # noqa: N802
    """Mark a name as stable ("stable", the default), "beta" or "alpha".

    Raises ValueError for any other `stability`, TypeError for an unknown argument.
    """
    stability = kwargs.pop("stability", "stable")
    kwargs.pop("api_group", None)
    _refuse(kwargs)
    if stability not in ("stable", "beta", "alpha"):
        raise ValueError(f"stability must be 'stable', 'beta' or 'alpha', not {stability!r}")
    note = (
        "PublicAPI"
        if stability == "stable"
        else f"PublicAPI ({stability}): may change before becoming stable."
    )
    return _decorate(args, AnnotationType.PUBLIC_API, note)


def DeveloperAPI(*args: Any, **kwargs: Any) -> Any:  # noqa: N802
    """Mark a name as one for authors of libraries."""
    _refuse(kwargs)
    return _decorate(args, AnnotationType.DEVELOPER_API, "DeveloperAPI: may change between minor versions.")


def Deprecated(*args: Any, **kwargs: Any) -> Any:  # noqa: N802
    """Mark a name as one that will go; with `warning=True` the first use warns."""
    message = kwargs.pop("message", "It will go in a later version.")
    warning = kwargs.pop("warning", False)
    _refuse(kwargs)

    def mark(target: Any) -> Any:
        if warning:
            target = _warning(target, f"{target.__qualname__} is deprecated. {message}")
        return _mark(target, AnnotationType.DEPRECATED, f"Deprecated. {message}")

    return mark(args[0]) if args else mark


def _warning(target: Any, text: str) -> Any:
    import functools
    import warnings

    plain: Any = vars(target).get("__init__", object.__init__) if isinstance(target, type) else target

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(text, RayDeprecationWarning, stacklevel=2)
        return plain(*args, **kwargs)

    if not isinstance(target, type):
        return call
    target.__init__ = call  # type: ignore[misc]
    return target


def _decorate(args: tuple[Any, ...], kind: AnnotationType, note: str) -> Any:
    if args:
        return _mark(args[0], kind, note)
    return lambda target: _mark(target, kind, note)


def _refuse(kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise TypeError(f"unknown argument {', '.join(sorted(kwargs))}")
