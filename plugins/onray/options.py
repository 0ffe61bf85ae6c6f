"""Our templates as the options that Ray takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shoal.onray.real import part
from shoal.spec.calls import ActorTemplate, TaskTemplate
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import (
    NodeAffinityStrategy,
    NodeLabelStrategy,
    PlacementGroupStrategy,
    SpreadStrategy,
    Strategy,
)

if TYPE_CHECKING:
    from shoal.onray.engine import RayEngine


def resource_options(resources: ResourceSet) -> dict[str, Any]:
    """Return num_gpus, memory and resources; CPUs are asked for differently by tasks and actors."""
    rest = resources.to_floats()
    rest.pop("CPU", None)
    options: dict[str, Any] = {}
    if gpus := rest.pop("GPU", 0.0):
        options["num_gpus"] = gpus
    if memory := rest.pop("memory", 0.0):
        options["memory"] = int(memory)
    if rest:
        options["resources"] = rest
    return options


def task_options(engine: RayEngine, template: TaskTemplate) -> dict[str, Any]:
    """Return what `ray.remote(function).options()` takes for a template."""
    from shoal.onray.failures import RetryableFailure

    options: dict[str, Any] = {
        "name": template.name,
        "num_cpus": template.resources.get("CPU", 0.0),
        "num_returns": template.num_returns,
        "max_retries": template.max_retries,
        **resource_options(template.resources),
        **place_options(engine, template.strategy, template.label_selector, template.runtime_env),
    }
    if template.retry_exceptions:
        options["retry_exceptions"] = [RetryableFailure]
    if template.max_calls:
        options["max_calls"] = template.max_calls
    if template.num_returns == "streaming" and template.backpressure:
        options["_generator_backpressure_num_objects"] = template.backpressure
    return options


def actor_options(engine: RayEngine, template: ActorTemplate, namespace: str) -> dict[str, Any]:
    """Return what `ray.remote(**options)(cls)` takes for a template."""
    options: dict[str, Any] = {
        "max_restarts": template.max_restarts,
        "max_task_retries": template.max_task_retries,
        "max_concurrency": template.max_concurrency,
        **resource_options(template.resources),
        **place_options(engine, template.strategy, template.label_selector, template.runtime_env),
    }
    cpus = template.resources.get("CPU", 0.0)
    if cpus or not template.placement.get("CPU", 0.0):
        options["num_cpus"] = cpus  # else Ray's own rule: one CPU to be placed, none to live
    if template.concurrency_groups:
        options["concurrency_groups"] = dict(template.concurrency_groups)
    if template.max_pending_calls != -1:
        options["max_pending_calls"] = template.max_pending_calls
    if template.name:
        options["name"], options["namespace"] = template.name, namespace
    if template.detached:
        options["lifetime"] = "detached"
    return options


def place_options(
    engine: RayEngine,
    strategy: Strategy,
    label_selector: Mapping[str, str],
    runtime_env: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return where a call or an actor shall run, and in what environment."""
    options: dict[str, Any] = {}
    if runtime_env:
        options["runtime_env"] = {
            key: value
            for key, value in runtime_env.items()
            if key != "preload"  # it only saves time
        }
    if label_selector:
        options["label_selector"] = dict(label_selector)
    strategies = part("util.scheduling_strategies")
    if isinstance(strategy, SpreadStrategy):
        options["scheduling_strategy"] = "SPREAD"
    elif isinstance(strategy, NodeAffinityStrategy):
        options["scheduling_strategy"] = strategies.NodeAffinitySchedulingStrategy(
            engine.looking.ray_node(strategy.node_id), soft=strategy.soft
        )
    elif isinstance(strategy, NodeLabelStrategy):
        options["scheduling_strategy"] = strategies.NodeLabelSchedulingStrategy(
            {name: strategies.In(*allowed) for name, allowed in strategy.hard.items()},
            soft={name: strategies.In(*allowed) for name, allowed in strategy.soft.items()},
        )
    elif isinstance(strategy, PlacementGroupStrategy):
        options["scheduling_strategy"] = strategies.PlacementGroupSchedulingStrategy(
            engine.placement.ray_group(strategy.group_id),
            placement_group_bundle_index=strategy.bundle_index,
            placement_group_capture_child_tasks=strategy.capture_child_tasks,
        )
    return options
