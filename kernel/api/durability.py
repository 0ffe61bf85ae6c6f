"""Durable actors: what the options mean together, and what cannot be kept, told where the class is decorated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError
from shoal.spec.calls import Durability, MethodTemplate

_DEFAULT_INTERVAL_S = 1.0
_PAIR = ("checkpoint", "restore")
_STREAMS = ("streaming", "dynamic")


def durability_of(
    cls: type, options: Mapping[str, Any], methods: Mapping[str, MethodTemplate], is_async: bool
) -> Durability | None:
    """Return how the state of a class's instances is kept, None if it is not.

    Raises ConfigError for options that contradict each other, and for a class whose state cannot be kept.

    Example: `durability_of(Counter, {"durable": True}, methods, False).interval_s` is 1.0.
    """
    interval = options.get("checkpoint_interval_s")
    exactly_once = bool(options.get("exactly_once"))
    if not options.get("durable"):
        for name, given in (("checkpoint_interval_s", interval is not None), ("exactly_once", exactly_once)):
            if given:
                raise ConfigError(f"{name} is for durable actors: add durable=True, or leave {name} out")
        return None
    name = cls.__qualname__.rpartition("<locals>.")[2]
    _refuse_concurrency(name, options, is_async)
    if options.get("max_restarts") == 0:
        raise ConfigError(
            f"durable actor {name}: with max_restarts=0 it never comes back to what was saved; leave max_restarts out "
            "(without end) or give a number above 0"
        )
    if exactly_once:
        _refuse_what_is_not_once(name, options, methods, interval)
        interval = 0.0
    return Durability(
        interval_s=_DEFAULT_INTERVAL_S if interval is None else float(interval),
        exactly_once=exactly_once,
        by_methods=_has_pair(cls, name),
    )


def _refuse_concurrency(name: str, options: Mapping[str, Any], is_async: bool) -> None:
    what = ""
    if is_async:
        what = "it has coroutine methods"
    elif (options.get("max_concurrency") or 1) > 1:
        what = f"max_concurrency={options['max_concurrency']}"
    elif options.get("concurrency_groups"):
        what = "it has concurrency_groups"
    if what:
        raise ConfigError(
            f"durable actor {name}: {what}, but a state is only whole between calls that run one after the other; "
            "keep the state in an actor with plain methods, and call that from the concurrent one"
        )


def _refuse_what_is_not_once(
    name: str, options: Mapping[str, Any], methods: Mapping[str, MethodTemplate], interval: float | None
) -> None:
    if interval:
        raise ConfigError(
            f"durable actor {name}: exactly_once=True saves each call before it is answered, so that "
            f"checkpoint_interval_s={interval:g} cannot hold; leave it out"
        )
    if options.get("max_task_retries") == 0:
        raise ConfigError(
            f"durable actor {name}: exactly_once=True needs calls to be sent again until they are answered, which "
            "max_task_retries=0 forbids; leave it out (without end) or give a number above 0"
        )
    for method in methods.values():
        refuse_method(name, method)


def refuse_method(class_name: str, method: MethodTemplate) -> None:
    """Raise ConfigError for a method that an actor with exactly_once=True cannot have."""
    if method.num_returns in _STREAMS:
        raise ConfigError(
            f"{class_name}.{method.name}: with exactly_once=True a method cannot stream its results, since items go "
            "out before the call's effect is saved; return a list instead"
        )
    if method.tensor_transport is not None:
        raise ConfigError(
            f"{class_name}.{method.name}: with exactly_once=True answers are saved, and tensors that stay in the "
            "process are not; leave tensor_transport out"
        )
    if method.max_task_retries == 0:
        raise ConfigError(
            f"{class_name}.{method.name}: with exactly_once=True calls are sent again until they are answered, which "
            "max_task_retries=0 forbids; leave it out"
        )


def _has_pair(cls: type, name: str) -> bool:
    there = [part for part in _PAIR if callable(getattr(cls, part, None))]
    if len(there) == 1:
        other = _PAIR[1 - _PAIR.index(there[0])]
        raise ConfigError(
            f"durable actor {name} has {there[0]}() but no {other}(): write both, or neither to have its attributes "
            "kept"
        )
    return bool(there)
