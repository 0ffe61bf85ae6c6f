"""From checked options to the templates that engines take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from shoal.api.durability import durability_of
from shoal.api.kept import keeping_template
from shoal.api.options import check_options
from shoal.api.strategies import in_group, to_strategy
from shoal.api.transports import STORE
from shoal.errors import ConfigError
from shoal.spec.calls import ActorTemplate, MethodTemplate, NumReturns, TaskTemplate
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import DefaultStrategy, Strategy

ACCELERATOR_LABEL = "shoal.io/accelerator-type"
METHOD_OPTIONS = "__shoal_method_options__"  # where the `method` decorator leaves them
ASYNC_CONCURRENCY = 1000  # calls that an async actor runs at once unless told


def short_name(target: Any) -> str:
    """Return how a person calls a function or class: without the functions that it is defined in."""
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    return str(name).rpartition("<locals>.")[2]


def is_generator(function: Any) -> bool:
    """Tell whether calling it gives a generator, plain or async."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def task_template(
    function: Callable[..., Any], run: Callable[..., Any], options: Mapping[str, Any]
) -> TaskTemplate:
    """Make the template of a function. `run` is what executes (it differs for a coroutine function)."""
    strategy, selector = _placement(options)
    gpus = options.get("num_gpus")
    max_calls = options.get("max_calls")
    return TaskTemplate(
        function=run,
        name=options.get("name") or short_name(function),
        resources=ResourceSet.of({"CPU": _or(options.get("num_cpus"), 1.0), **_resources(options)}),
        num_returns=_returns(options, function),
        max_retries=options.get("max_retries", 3),
        retry_exceptions=options.get("retry_exceptions") or False,
        # A library on a GPU seldom gives its memory back before the process ends.
        max_calls=max_calls if max_calls is not None else int(bool(gpus)),
        strategy=strategy,
        label_selector=selector,
        runtime_env=options.get("runtime_env"),
        backpressure=_backpressure(options),
    )


def actor_template(cls: type, options: Mapping[str, Any]) -> ActorTemplate:
    """Make the template of a class. Raises ConfigError for options that contradict each other."""
    name, namespace = options.get("name"), options.get("namespace")
    if options.get("get_if_exists") and not name:
        raise ConfigError("get_if_exists=True needs a name")
    strategy, selector = _placement(options)
    others = _resources(options)
    cpus = options.get("num_cpus")
    if cpus is None and set(others) - {"memory", "object_store_memory"}:
        cpus = 1.0  # whoever asks for a device gets a CPU to drive it with
    resources = ResourceSet.of({"CPU": _or(cpus, 0.0), **others})
    placement = resources if cpus is not None else ResourceSet.of({"CPU": 1, **others})
    methods = method_templates(cls)
    groups = options.get("concurrency_groups") or {}
    for method in methods.values():
        if method.concurrency_group is not None and method.concurrency_group not in groups:
            raise ConfigError(
                f"method {method.name!r} wants concurrency group {method.concurrency_group!r}; "
                f"concurrency_groups has {', '.join(sorted(groups)) or 'none'}"
            )
    for method in methods.values():
        _check_keeping(method, options.get("enable_tensor_transport"))
    is_async = any(_is_async(getattr(cls, method, None)) for method in methods)
    durability = durability_of(cls, options, methods, is_async)
    once = durability is not None and durability.exactly_once
    retries = options.get("max_task_retries")
    return ActorTemplate(
        cls=cls,
        class_name=short_name(cls),
        methods=methods,
        resources=resources,
        placement=placement,
        is_async=is_async,
        # What is kept is kept to come back to, and only what is sent again can be applied once.
        max_restarts=options.get("max_restarts", 0 if durability is None else -1),
        max_task_retries=retries if retries is not None else -1 if once else 0,
        max_concurrency=options.get("max_concurrency") or (ASYNC_CONCURRENCY if is_async else 1),
        concurrency_groups=groups,
        max_pending_calls=options.get("max_pending_calls", -1),
        name=name,
        namespace=namespace,
        detached=options.get("lifetime") == "detached",
        get_if_exists=options.get("get_if_exists", False),
        strategy=strategy,
        label_selector=selector,
        runtime_env=options.get("runtime_env"),
        durability=durability,
    )


def method_templates(cls: type) -> dict[str, MethodTemplate]:
    """Return a template for each method that a handle offers: all but the special ones, and `__call__`."""
    templates: dict[str, MethodTemplate] = {}
    for owner in reversed(cls.__mro__[:-1]):
        for name, member in vars(owner).items():
            function = getattr(member, "__func__", member)
            special = name.startswith("__") and name.endswith("__") and name != "__call__"
            if special or not callable(function) or isinstance(function, type):
                templates.pop(name, None)
                continue
            options = check_options(getattr(function, METHOD_OPTIONS, {}), "method")
            templates[name] = method_template(name, function, options)
    return templates


def method_template(name: str, function: Any, options: Mapping[str, Any]) -> MethodTemplate:
    """Make the template of one method."""
    return MethodTemplate(
        name=name,
        num_returns=_returns(options, function),
        max_task_retries=options.get("max_task_retries"),
        retry_exceptions=options.get("retry_exceptions") or False,
        concurrency_group=options.get("concurrency_group"),
        backpressure=_backpressure(options),
        display_name=options.get("name") or "",
        tensor_transport=_transport(options.get("tensor_transport")),
    )


def _check_keeping(method: MethodTemplate, enabled: bool | None) -> None:
    if method.tensor_transport is None:
        return
    if enabled is False:
        raise ConfigError(
            f"method {method.name!r} has tensor_transport={method.tensor_transport!r}, and the class says "
            "enable_tensor_transport=False; leave one of them out"
        )
    keeping_template(method, method)


def _transport(name: str | None) -> str | None:
    return None if name == STORE else name


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _returns(options: Mapping[str, Any], function: Any) -> NumReturns:
    given: NumReturns | None = options.get("num_returns")
    if given is not None:
        return given
    return "streaming" if is_generator(function) else 1


def _backpressure(options: Mapping[str, Any]) -> int:
    return max(options.get("_generator_backpressure_num_objects") or 0, 0)


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _resources(options: Mapping[str, Any]) -> dict[str, float]:
    """All but CPUs, whose default differs between tasks and actors."""
    quantities = dict(options.get("resources") or {})
    for option, resource in (
        ("num_gpus", "GPU"),
        ("memory", "memory"),
        ("object_store_memory", "object_store_memory"),
    ):
        if options.get(option):
            quantities[resource] = options[option]
    return quantities


def _placement(options: Mapping[str, Any]) -> tuple[Strategy, dict[str, str]]:
    strategy, selector = to_strategy(options.get("scheduling_strategy"))
    group = options.get("placement_group")
    index = options.get("placement_group_bundle_index")
    capture = options.get("placement_group_capture_child_tasks")
    if group not in (None, "default"):
        if not isinstance(strategy, DefaultStrategy):
            raise ConfigError("give placement_group or scheduling_strategy, not both")
        strategy = in_group(group, -1 if index is None else index, capture)
    elif index not in (None, -1):
        raise ConfigError("placement_group_bundle_index needs a placement_group")
    selector = {**selector, **(options.get("label_selector") or {})}
    if options.get("accelerator_type"):
        selector[ACCELERATOR_LABEL] = options["accelerator_type"]
    return strategy, selector
