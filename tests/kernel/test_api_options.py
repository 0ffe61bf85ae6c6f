"""Options: what each takes, what is refused, and what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

import shoal
from shoal.api.options import OPTIONS, check_options
from shoal.errors import ConfigError
from shoal.ids import NodeID, PlacementGroupID
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import (
    DefaultStrategy,
    NodeAffinityStrategy,
    NodeLabelStrategy,
    PlacementGroupStrategy,
    SpreadStrategy,
)


def task(**options: Any) -> Any:
    return shoal.remote(**options)(lambda: None).template


def actor(cls: type | None = None, **options: Any) -> Any:
    class Plain:
        def work(self) -> None: ...

    return shoal.remote(**options)(cls or Plain).template if options else shoal.remote(cls or Plain).template


GROUP = shoal.PlacementGroup(PlacementGroupID(b"g" * 16), [{"CPU": 1}, {"CPU": 1}])


@pytest.mark.parametrize(
    "options",
    [
        {"num_cpus": -1},
        {"num_cpus": "two"},
        {"num_cpus": True},
        {"num_cpus": 0.00001},
        {"num_cpus": float("nan")},
        {"num_gpus": float("inf")},
        {"memory": -5},
        {"resources": {"x": -1}},
        {"resources": {"CPU": 1}},
        {"resources": {"GPU": 1}},
        {"resources": [1]},
        {"resources": {1: 1}},
        {"num_returns": -1},
        {"num_returns": 1.5},
        {"num_returns": "many"},
        {"num_returns": True},
        {"max_retries": -2},
        {"max_retries": None},
        {"max_calls": -1},
        {"retry_exceptions": [int]},
        {"retry_exceptions": ValueError},
        {"scheduling_strategy": "ANYWHERE"},
        {"scheduling_strategy": 5},
        {"scheduling_strategy": shoal.NodeAffinitySchedulingStrategy("not hex")},
        {"scheduling_strategy": shoal.NodeLabelSchedulingStrategy()},
        {"scheduling_strategy": shoal.NodeLabelSchedulingStrategy(hard={"zone": 5})},
        {"placement_group": "group"},
        {"placement_group_bundle_index": 0},
        {"placement_group": GROUP, "placement_group_bundle_index": 2},
        {"placement_group": GROUP, "scheduling_strategy": "SPREAD"},
        {"label_selector": {"zone": "in("}},
        {"label_selector": {"zone": 5}},
        {"label_selector": "zone"},
        {"runtime_env": "env"},
        {"name": ""},
        {"name": 5},
        {"accelerator_type": ""},
        {"enable_task_events": False},
        {"_generator_backpressure_num_objects": 0},
    ],
    ids=repr,
)
def test_wrong_options_of_tasks_are_refused_where_they_are_given(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        shoal.remote(**options)(lambda: None)
    with pytest.raises(ConfigError):
        shoal.remote(lambda: None).options(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_restarts": -2},
        {"max_concurrency": 0},
        {"concurrency_groups": {"a": 0}},
        {"concurrency_groups": ["a"]},
        {"max_pending_calls": 0},
        {"lifetime": "forever"},
        {"get_if_exists": True},
        {"get_if_exists": "yes", "name": "x"},
        {"namespace": ""},
        {"allow_out_of_order_execution": True},
        {"fallback_strategy": [{"label_selector": {"zone": "a"}}]},
        {"max_task_retries": -2},
    ],
    ids=repr,
)
def test_wrong_options_of_actors_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        actor(**options)


def test_an_unknown_option_says_what_there_is() -> None:
    with pytest.raises(
        ConfigError, match=r"no option 'num_cpu'; did you mean 'num_cpus'\? Valid: .*max_retries"
    ):
        shoal.remote(num_cpu=1)(lambda: None)  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="'max_restarts' is for a actor, not for a task"):
        shoal.remote(lambda: None).options(max_restarts=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="'max_retries' is for a task, not for a actor"):
        actor(max_retries=1)
    with pytest.raises(ConfigError, match="num_cpus"):
        shoal.method(num_cpus=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("where", ["task", "actor", "method"])
def test_every_option_takes_what_it_says(where: Any) -> None:
    good: dict[str, Any] = {
        "num_cpus": 0.5,
        "num_gpus": 1,
        "memory": 10**9,
        "object_store_memory": 10**6,
        "resources": {"x": 0.0001},
        "accelerator_type": "H100",
        "label_selector": {"zone": "in(a, b)", "arch": "!arm", "os": "linux", "gpu": "*", "tpu": "!*"},
        "fallback_strategy": [],
        "scheduling_strategy": "SPREAD",
        "placement_group": "default",
        "placement_group_bundle_index": -1,
        "placement_group_capture_child_tasks": True,
        "runtime_env": {"env_vars": {"A": "1"}},
        "enable_task_events": True,
        "name": "n",
        "num_returns": "streaming",
        "max_retries": -1,
        "retry_exceptions": [OSError],
        "max_calls": 3,
        "_generator_backpressure_num_objects": 4,
        "max_restarts": -1,
        "max_task_retries": -1,
        "max_concurrency": 5,
        "concurrency_groups": {"io": 2},
        "max_pending_calls": 9,
        "namespace": "here",
        "lifetime": "detached",
        "get_if_exists": True,
        "durable": True,
        "checkpoint_interval_s": 0.5,
        "exactly_once": True,
        "allow_out_of_order_execution": False,
        "enable_tensor_transport": False,
        "tensor_transport": "object_store",
        "concurrency_group": "io",
    }
    assert set(good) == set(OPTIONS), "give every option of the table a good value here"
    given = {name: value for name, value in good.items() if where in OPTIONS[name].valid}
    assert set(check_options(given, where)) == set(given)


def test_a_task_asks_for_one_cpu_unless_told() -> None:
    assert ResourceSet.of(CPU=1) == task().resources
    assert ResourceSet() == task(num_cpus=0).resources
    assert (
        ResourceSet.of(CPU=1, GPU=0.5, memory=100, x=2)
        == task(num_gpus=0.5, memory=100, resources={"x": 2}).resources
    )


def test_an_actor_needs_a_cpu_to_start_and_none_to_live() -> None:
    plain = actor()
    assert (ResourceSet.of(CPU=1), ResourceSet()) == (plain.placement, plain.resources)
    asked = actor(num_cpus=2)
    assert ResourceSet.of(CPU=2) == asked.placement == asked.resources
    none = actor(num_cpus=0)
    assert ResourceSet() == none.placement == none.resources
    gpu = actor(num_gpus=1)
    assert ResourceSet.of(CPU=1, GPU=1) == gpu.placement == gpu.resources


def test_a_task_on_a_gpu_ends_its_process() -> None:
    assert [task().max_calls, task(num_gpus=1).max_calls, task(num_gpus=1, max_calls=5).max_calls] == [
        0,
        1,
        5,
    ]


def test_strategies_become_the_kernels() -> None:
    node = NodeID(b"nodenode")
    labels = shoal.NodeLabelSchedulingStrategy(
        hard={"zone": shoal.In("a", "b"), "arch": "x86", "os": shoal.NotIn("mac")}, soft={"disk": ["ssd"]}
    )
    assert isinstance(task().strategy, DefaultStrategy)
    assert isinstance(task(scheduling_strategy="SPREAD").strategy, SpreadStrategy)
    assert task(
        scheduling_strategy=shoal.NodeAffinitySchedulingStrategy(node.hex(), soft=True)
    ).strategy == NodeAffinityStrategy(node_id=node, soft=True)
    labelled = task(scheduling_strategy=labels)
    assert labelled.strategy == NodeLabelStrategy(
        hard={"zone": ("a", "b"), "arch": ("x86",)}, soft={"disk": ("ssd",)}
    )
    assert labelled.label_selector == {"os": "!in(mac)"}
    wanted = PlacementGroupStrategy(group_id=GROUP.id, bundle_index=1, capture_child_tasks=True)
    one = task(scheduling_strategy=shoal.PlacementGroupSchedulingStrategy(GROUP, 1, True))
    two = task(
        placement_group=GROUP, placement_group_bundle_index=1, placement_group_capture_child_tasks=True
    )
    assert wanted == one.strategy == two.strategy


def test_an_accelerators_type_is_a_label() -> None:
    assert task(accelerator_type="H100", label_selector={"a": "b"}).label_selector == {
        "shoal.io/accelerator-type": "H100",
        "a": "b",
    }


def test_later_options_win_and_the_rest_stays() -> None:
    first = shoal.remote(num_cpus=2, max_retries=7)(lambda: None)
    second = first.options(num_cpus=3, name="n")
    assert (ResourceSet.of(CPU=3), 7, "n") == (
        second.template.resources,
        second.template.max_retries,
        second.template.name,
    )
    assert ResourceSet.of(CPU=2) == first.template.resources


def test_methods_and_their_options() -> None:
    class Base:
        def inherited(self) -> None: ...

        def replaced(self) -> None: ...

    class Actor(Base):
        replaced = None  # type: ignore[assignment]
        constant = 5

        class Inner:
            pass

        @shoal.method(num_returns=2, concurrency_group="io")
        def both(self) -> Any: ...

        def stream(self) -> Any:
            yield 1

        def __call__(self) -> None: ...

        def __len__(self) -> int:
            return 0

    template = actor(Actor, concurrency_groups={"io": 3})
    assert {"inherited", "both", "stream", "__call__"} == set(template.methods)
    assert (template.methods["both"].num_returns, template.methods["both"].concurrency_group) == (2, "io")
    assert template.methods["stream"].num_returns == "streaming"
    with pytest.raises(ConfigError, match="'io'"):
        actor(Actor)


def test_an_actor_is_async_if_a_method_is() -> None:
    class Async:
        async def work(self) -> None: ...

    class AsyncGenerator:
        async def work(self) -> Any:
            yield 1

    assert (actor(Async).is_async, actor(Async).max_concurrency) == (True, 1000)
    assert actor(AsyncGenerator).is_async
    assert actor(Async, max_concurrency=3).max_concurrency == 3
    assert (actor().is_async, actor().max_concurrency) == (False, 1)


def test_more_than_one_gpu_comes_in_whole_numbers() -> None:
    with pytest.raises(ConfigError, match="whole number"):
        shoal.remote(num_gpus=1.5)(len)
