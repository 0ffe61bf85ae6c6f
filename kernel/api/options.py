"""The options of tasks, actors and methods, in one table: what each takes and where it is valid."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import attrs

from shoal.api.groups import PlacementGroup
from shoal.api.strategies import to_strategy
from shoal.api.transports import require_transport
from shoal.errors import ConfigError, describe
from shoal.spec.resources import ResourceSet

if TYPE_CHECKING:
    from shoal.api.strategies import SchedulingStrategy
    from shoal.spec.calls import NumReturns

Where = Literal["task", "actor", "method"]
TASK, ACTOR, METHOD = frozenset({"task"}), frozenset({"actor"}), frozenset({"method"})


class _PlacementOptions(TypedDict, total=False):
    num_cpus: float | None
    num_gpus: float | None
    memory: float | None
    object_store_memory: float | None
    resources: Mapping[str, float] | None
    accelerator_type: str | None
    label_selector: Mapping[str, str] | None
    fallback_strategy: Sequence[Mapping[str, Any]] | None
    scheduling_strategy: SchedulingStrategy | None
    placement_group: PlacementGroup | Literal["default"] | None
    placement_group_bundle_index: int
    placement_group_capture_child_tasks: bool | None
    runtime_env: Mapping[str, Any] | None
    enable_task_events: bool
    name: str | None


class TaskOptions(_PlacementOptions, total=False):
    """What `remote` and `options` of a function take."""

    num_returns: NumReturns | None
    max_retries: int
    retry_exceptions: bool | list[type[BaseException]] | tuple[type[BaseException], ...]
    max_calls: int
    _generator_backpressure_num_objects: int | None


class ActorOptions(_PlacementOptions, total=False):
    """What `remote` and `options` of a class take."""

    max_restarts: int
    max_task_retries: int
    max_concurrency: int | None
    concurrency_groups: Mapping[str, int] | None
    max_pending_calls: int
    namespace: str | None
    lifetime: Literal["detached", "non_detached"] | None
    get_if_exists: bool
    durable: bool
    checkpoint_interval_s: float | None
    exactly_once: bool
    allow_out_of_order_execution: bool | None
    enable_tensor_transport: bool | None


class AnyOptions(TaskOptions, ActorOptions, total=False):
    """What `remote` takes before it knows whether it is for a function or a class."""


class MethodOptions(TypedDict, total=False):
    """What `method` and `options` of an actor's method take."""

    num_returns: NumReturns | None
    max_task_retries: int | None
    retry_exceptions: bool | list[type[BaseException]] | tuple[type[BaseException], ...] | None
    concurrency_group: str | None
    name: str | None
    enable_task_events: bool
    tensor_transport: str | None
    _generator_backpressure_num_objects: int | None


@attrs.frozen
class Option:
    """One option. `check` returns the value in its one form; it returns None or raises ValueError for a wrong one."""

    name: str
    valid: frozenset[str]
    allowed: str  # what follows "must be" in an error
    check: Callable[[Any], Any]
    none_is_unset: bool = True


def check_options(given: Mapping[str, Any], where: Where) -> dict[str, Any]:
    """Return the options that are set, each in its one form.

    Raises ConfigError for an option that is unknown, not valid there, or wrong; nothing is dropped in silence.
    """
    checked: dict[str, Any] = {}
    for name, value in given.items():
        option = OPTIONS.get(name)
        if option is None or where not in option.valid:
            raise ConfigError(_unknown(name, option, where))
        if value is None and option.none_is_unset:
            checked[name] = None
            continue
        try:
            result = option.check(value)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None
        if result is None:
            raise ConfigError(f"{name} must be {option.allowed}, not {describe(value)}")
        checked[name] = result
    return checked


def _unknown(name: str, option: Option | None, where: Where) -> str:
    import difflib

    valid = sorted(known.name for known in OPTIONS.values() if where in known.valid)
    if option is not None:
        places = " or ".join(sorted(option.valid))
        return f"option {name!r} is for a {places}, not for a {where}; valid: {', '.join(valid)}"
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"a {where} has no option {name!r}{hint} Valid: {', '.join(valid)}"


def _whole(least: int, but_not: int | None = None) -> Callable[[Any], int | None]:
    def check(value: Any) -> int | None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least or value == but_not:
            return None
        return value

    return check


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        return None
    return float(value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _quantity(resource: str) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        ResourceSet.of({resource: value})
        if resource == "GPU" and value > 1 and value != int(value):
            raise ConfigError(
                f"num_gpus must be a fraction below 1 or a whole number of devices, not {value}"
            )
        return float(value)

    return check


def _resources(value: Any) -> dict[str, float] | None:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) and name for name in value):
        return None
    for name, option in (("CPU", "num_cpus"), ("GPU", "num_gpus"), ("memory", "memory")):
        if name in value:
            raise ValueError(f"give {name} by the option {option} instead")
    ResourceSet.of(value)
    return dict(value)


def _num_returns(value: Any) -> Any:
    return value if value in ("dynamic", "streaming") else _whole(0)(value)


def _exceptions(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)) and all(
        isinstance(item, type) and issubclass(item, BaseException) for item in value
    ):
        return tuple(value)
    return None


def _groups(value: Any) -> dict[str, int] | None:
    if not isinstance(value, Mapping):
        return None
    good = all(_text(name) is not None and _whole(1)(size) is not None for name, size in value.items())
    return dict(value) if good else None


# "a", "!a", "in(a, b)", "!in(a, b)", "*" and "!*": what the schedulers understand.
_SELECTOR = re.compile(r"!?(in\(\s*[\w./-]+(\s*,\s*[\w./-]+)*\s*\)|[\w./-]*|\*)")


def _selector(value: Any) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        return None
    for label, wanted in value.items():
        if not isinstance(label, str) or not isinstance(wanted, str) or not _SELECTOR.fullmatch(wanted):
            raise ValueError(
                f"label {label!r} wants {describe(wanted)}; write 'a', '!a', 'in(a, b)', '!in(a, b)', '*' or '!*'"
            )
    return dict(value)


def _strategy(value: Any) -> Any:
    to_strategy(value)
    return value


def _placement_group(value: Any) -> Any:
    return value if value == "default" or isinstance(value, PlacementGroup) else None


def _only(expected: object) -> Callable[[Any], Any]:
    return lambda value: value if value is expected else None


_WORK = TASK | ACTOR
_TABLE = (
    Option("num_cpus", _WORK, "a number ≥ 0", _quantity("CPU")),
    Option("num_gpus", _WORK, "a number ≥ 0", _quantity("GPU")),
    Option("memory", _WORK, "a number of bytes ≥ 0", _quantity("memory")),
    Option("object_store_memory", _WORK, "a number of bytes ≥ 0", _quantity("object_store_memory")),
    Option("resources", _WORK, "a mapping from names to numbers ≥ 0", _resources),
    Option("accelerator_type", _WORK, "the name of a device type", _text),
    Option("label_selector", _WORK, "a mapping from node labels to the values wanted", _selector),
    Option(
        "fallback_strategy",
        _WORK,
        "an empty list: other selectors are not tried when label_selector fits no node",
        lambda value: [] if value == [] else None,
    ),
    Option("scheduling_strategy", _WORK, "a scheduling strategy", _strategy),
    Option("placement_group", _WORK, "a PlacementGroup or 'default'", _placement_group),
    Option("placement_group_bundle_index", _WORK, "−1 or a bundle's index", _whole(-1)),
    Option("placement_group_capture_child_tasks", _WORK, "True or False", _flag),
    Option(
        "runtime_env", _WORK, "a mapping", lambda value: dict(value) if isinstance(value, Mapping) else None
    ),
    Option(
        "enable_task_events",
        TASK | ACTOR | METHOD,
        "True: every call is recorded, and recording cannot be turned off for one of them",
        _only(True),
        none_is_unset=False,
    ),
    Option("name", TASK | ACTOR | METHOD, "text that is not empty", _text),
    Option("num_returns", TASK | METHOD, "a whole number ≥ 0, 'dynamic' or 'streaming'", _num_returns),
    Option("max_retries", TASK, "a whole number ≥ −1 (−1: without end)", _whole(-1), none_is_unset=False),
    Option("retry_exceptions", TASK | METHOD, "True, False or a list of exception classes", _exceptions),
    Option("max_calls", TASK, "a whole number ≥ 0 (0: any number)", _whole(0), none_is_unset=False),
    Option("_generator_backpressure_num_objects", TASK | METHOD, "−1 or a whole number ≥ 1", _whole(-1, 0)),
    Option("max_restarts", ACTOR, "a whole number ≥ −1 (−1: without end)", _whole(-1), none_is_unset=False),
    Option("max_task_retries", ACTOR | METHOD, "a whole number ≥ −1 (−1: without end)", _whole(-1)),
    Option("max_concurrency", ACTOR, "a whole number ≥ 1", _whole(1)),
    Option("concurrency_groups", ACTOR, "a mapping from names to whole numbers ≥ 1", _groups),
    Option(
        "max_pending_calls",
        ACTOR,
        "−1 (any number) or a whole number ≥ 1",
        _whole(-1, 0),
        none_is_unset=False,
    ),
    Option("namespace", ACTOR, "text that is not empty", _text),
    Option(
        "lifetime",
        ACTOR,
        "None, 'detached' or 'non_detached'",
        lambda value: value if value in ("detached", "non_detached") else None,
    ),
    Option("get_if_exists", ACTOR, "True or False", _flag, none_is_unset=False),
    Option("durable", ACTOR, "True or False", _flag, none_is_unset=False),
    Option("checkpoint_interval_s", ACTOR, "a number of seconds ≥ 0 (0: before each answer)", _seconds),
    Option("exactly_once", ACTOR, "True or False", _flag, none_is_unset=False),
    Option(
        "allow_out_of_order_execution", ACTOR, "False: calls from one caller start in order", _only(False)
    ),
    Option(
        "enable_tensor_transport",
        ACTOR,
        "True, or False: no method may have a tensor_transport",
        _flag,
    ),
    Option(
        "tensor_transport",
        METHOD,
        "the name of a transport",
        require_transport,
    ),
    Option("concurrency_group", METHOD, "the name of a concurrency group", _text),
)
OPTIONS: dict[str, Option] = {option.name: option for option in _TABLE}
