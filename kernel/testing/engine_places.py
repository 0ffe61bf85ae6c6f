"""The engine's contract: names, places and what running code may know."""

# mypy does not see what a decorator makes of a class (pyright does), and get() of a handle's call is Any.
# mypy: disable-error-code="attr-defined, no-any-return, unused-ignore"

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import shoal
from shoal.errors import ActorDied, ActorNameTaken, ConfigError, PlacementGroupRemoved
from shoal.testing.engine_actors import Counter, living
from shoal.testing.engine_base import EnginePart, get, needs
from shoal.testing.engine_gates import Gate, wait_for


class NamedActorPart(EnginePart):
    """Actors that can be found."""

    def test_a_name_finds_the_actor(self) -> None:
        counter = shoal.remote(Counter).options(name="findable").remote()
        get(counter.add.remote())
        found = shoal.get_actor("findable")
        assert counter == found
        assert get(found.add.remote()) == 2

    def test_a_task_finds_it_too(self) -> None:
        counter = shoal.remote(Counter).options(name="from-a-task").remote(4)

        @shoal.remote
        def use() -> int:
            return get(shoal.get_actor("from-a-task").add.remote())

        assert get(use.remote()) == 5
        assert get(counter.add.remote()) == 6

    def test_an_unknown_name_lists_those_there_are(self) -> None:
        counter = shoal.remote(Counter).options(name="known").remote()
        with pytest.raises(ValueError, match=r"'unknown'.*known"):
            shoal.get_actor("unknown")
        get(counter.add.remote())

    @pytest.mark.parametrize("name", ["", 5, None])
    def test_a_name_is_text(self, name: Any) -> None:
        with pytest.raises(ValueError, match="name"):
            shoal.get_actor(name)

    def test_a_name_is_taken_once(self) -> None:
        options = {"name": "single"}
        counter = shoal.remote(Counter).options(**options).remote()  # type: ignore[arg-type]
        with pytest.raises(ActorNameTaken):
            shoal.remote(Counter).options(name="single").remote()
        with pytest.raises(ValueError, match="single"):
            shoal.remote(Counter).options(name="single").remote()
        assert get(counter.add.remote()) == 1

    def test_a_name_is_free_after_death(self) -> None:
        counter = shoal.remote(Counter).options(name="again").remote()
        get(counter.add.remote())
        shoal.kill(counter)
        wait_for(lambda: not living("again"), "the name to be free")
        other = shoal.remote(Counter).options(name="again").remote(7)
        assert get(other.add.remote()) == 8

    def test_get_if_exists(self) -> None:
        shared = shoal.remote(Counter).options(name="shared", get_if_exists=True)
        one = shared.remote(1)
        get(one.add.remote())
        two = shared.remote(100)
        assert one == two
        assert get(two.add.remote()) == 3

    def test_namespaces_are_apart(self) -> None:
        here = shoal.remote(Counter).options(name="spaced").remote(1)
        there = shoal.remote(Counter).options(name="spaced", namespace="elsewhere").remote(100)
        assert get([here.add.remote(), there.add.remote()]) == [2, 101]
        assert here == shoal.get_actor("spaced")
        assert there == shoal.get_actor("spaced", namespace="elsewhere")
        assert "spaced" in shoal.list_named_actors()
        assert {"namespace": "elsewhere", "name": "spaced"} in shoal.list_named_actors(all_namespaces=True)

    def test_a_detached_actor_needs_no_handle(self) -> None:
        shoal.remote(Counter).options(name="detached", lifetime="detached").remote(3)
        assert get(shoal.get_actor("detached").add.remote()) == 4
        shoal.kill(shoal.get_actor("detached"))
        wait_for(lambda: not living("detached"), "the actor to be dead")


class ResourcePart(EnginePart):
    """What work asks for and what there is."""

    def test_what_the_session_was_given(self) -> None:
        total = shoal.cluster_resources()
        assert (total["CPU"], total["widget"]) == (4, 2)
        [node] = shoal.nodes()
        assert node["Alive"]
        assert node["Resources"]["CPU"] == 4
        assert node["NodeID"] == shoal.get_runtime_context().get_node_id()

    def test_an_actor_holds_what_it_asked_for(self) -> None:
        counter = shoal.remote(Counter).options(resources={"widget": 1.5}, num_cpus=0).remote()
        get(counter.add.remote())
        wait_for(lambda: shoal.available_resources().get("widget") == 0.5, "the rest to be free")
        shoal.kill(counter)
        wait_for(lambda: shoal.available_resources().get("widget") == 2, "the resources to come back")

    def test_an_actor_that_asks_for_nothing_holds_nothing(self) -> None:
        counters = [shoal.remote(Counter).remote() for _ in range(8)]
        assert get([counter.add.remote() for counter in counters]) == [1] * 8
        wait_for(lambda: shoal.available_resources().get("CPU") == 4, "all CPUs to be free")

    def test_work_waits_for_room(self) -> None:
        holder = shoal.remote(Counter).options(resources={"widget": 2}).remote()
        get(holder.add.remote())

        @shoal.remote(resources={"widget": 1})
        def use() -> int:
            return 1

        ref = use.remote()
        waiting = shoal.remote(Counter).options(resources={"widget": 1}).remote()
        called = waiting.add.remote()
        assert ([], [ref, called]) == shoal.wait([ref, called], num_returns=2, timeout=0)
        shoal.kill(holder)
        assert get([ref, called]) == [1, 1]

    def test_fractions(self) -> None:
        @shoal.remote(num_cpus=0.1, resources={"widget": 0.0001})
        def small() -> dict[str, float]:
            return shoal.get_runtime_context().get_assigned_resources()

        assert get(small.remote()) == {"CPU": 0.1, "widget": 0.0001}

    @needs("parallel")
    def test_no_more_runs_at_once_than_there_is_room_for(self, gate: Gate) -> None:
        @shoal.remote(resources={"widget": 1}, num_cpus=0)
        def hold() -> int:
            gate.pass_through()
            return 1

        refs = [hold.remote() for _ in range(3)]
        wait_for(lambda: "widget" not in shoal.available_resources(), "both widgets to be in use")
        gate.open()
        assert get(refs) == [1, 1, 1]

    def test_strategies(self) -> None:
        here = shoal.get_runtime_context().get_node_id()

        @shoal.remote
        def where() -> str:
            return shoal.get_runtime_context().get_node_id()

        affinity = shoal.NodeAffinitySchedulingStrategy(here, soft=False)
        for strategy in ("DEFAULT", "SPREAD", affinity):
            assert here == get(where.options(scheduling_strategy=strategy).remote())

    def test_explain(self) -> None:
        holder = shoal.remote(Counter).options(resources={"widget": 2}).remote()
        get(holder.add.remote())

        @shoal.remote(resources={"widget": 1})
        def use() -> int:
            return 1

        ref = use.remote()
        assert "widget" in str(shoal.explain(ref))
        shoal.kill(holder)
        assert get(ref) == 1
        assert shoal.explain(ref).state == "ready"
        assert "dead" in str(shoal.explain(holder)).lower()


class PlacementGroupPart(EnginePart):
    """Resources that are reserved together."""

    @pytest.fixture(autouse=True)
    def _no_group_stays(self, session: None) -> Iterator[None]:
        yield
        for group_id in shoal.placement_group_table():
            shoal.remove_placement_group(shoal.PlacementGroup(shoal.PlacementGroupID.from_hex(group_id)))

    @needs("placement_groups")
    def test_many_groups_asked_for_at_once_are_all_made(self) -> None:
        groups = [shoal.placement_group([{"CPU": 0.01}, {"widget": 0.01}]) for _ in range(50)]
        assert all(group.wait(60) for group in groups)
        for group in groups:
            shoal.remove_placement_group(group)
        wait_for(lambda: shoal.available_resources().get("CPU") == 4, "the bundles to come back")

    @needs("placement_groups")
    def test_a_group_reserves_its_bundles(self) -> None:
        group = shoal.placement_group([{"CPU": 1, "widget": 1}, {"CPU": 2}])
        assert group.wait(60)
        get(group.ready())
        wait_for(lambda: shoal.available_resources().get("CPU") == 1, "the rest to be free")
        assert (group.bundle_count, group.bundle_specs) == (2, [{"CPU": 1, "widget": 1}, {"CPU": 2}])
        assert shoal.PlacementGroup(group.id).bundle_specs == group.bundle_specs
        with pytest.raises(ValueError, match="is not known"):
            _ = shoal.PlacementGroup(shoal.PlacementGroupID.from_random()).bundle_count
        record = shoal.placement_group_table(group)
        assert record["state"] == "CREATED"
        assert record["bundles"] == {0: {"CPU": 1, "widget": 1}, 1: {"CPU": 2}}
        assert {shoal.get_runtime_context().get_node_id()} == set(record["bundles_to_node_id"].values())
        shoal.remove_placement_group(group)
        wait_for(lambda: shoal.available_resources().get("CPU") == 4, "the bundles to come back")
        shoal.remove_placement_group(group)
        assert shoal.placement_group_table(group)["state"] == "REMOVED"

    @needs("placement_groups")
    def test_tasks_and_actors_run_in_bundles(self) -> None:
        group = shoal.placement_group([{"CPU": 1}, {"CPU": 1, "widget": 1}])
        strategy = shoal.PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=1)

        @shoal.remote(scheduling_strategy=strategy, resources={"widget": 1})
        def where() -> Any:
            return shoal.get_runtime_context().get_placement_group_id(), shoal.get_current_placement_group()

        assert (group.id.hex(), group) == get(where.remote())
        counter = shoal.remote(Counter).options(placement_group=group, num_cpus=1).remote()
        assert get(counter.add.remote()) == 1
        shoal.remove_placement_group(group)

    @needs("placement_groups")
    def test_children_stay_in_the_group_if_captured(self) -> None:
        group = shoal.placement_group([{"CPU": 2}])

        @shoal.remote
        def child() -> str | None:
            return shoal.get_runtime_context().get_placement_group_id()

        @shoal.remote
        def parent() -> Any:
            return get(child.remote())

        def run(capture: bool) -> Any:
            strategy = shoal.PlacementGroupSchedulingStrategy(group, 0, capture)
            return get(parent.options(scheduling_strategy=strategy).remote())

        assert [group.id.hex(), None] == [run(True), run(False)]
        shoal.remove_placement_group(group)

    @needs("placement_groups")
    def test_a_group_waits_for_room(self) -> None:
        first = shoal.placement_group([{"widget": 2}])
        assert first.wait(60)
        second = shoal.placement_group([{"widget": 1}])
        assert not second.wait(0)
        ready = second.ready()
        shoal.remove_placement_group(first)
        get(ready)
        shoal.remove_placement_group(second)

    @needs("placement_groups")
    def test_removing_a_group_ends_what_is_in_it(self) -> None:
        group = shoal.placement_group([{"CPU": 1}])
        counter = shoal.remote(Counter).options(placement_group=group, num_cpus=1).remote()
        get(counter.add.remote())
        shoal.remove_placement_group(group)
        with pytest.raises(ActorDied):
            get(counter.add.remote())

        @shoal.remote
        def late() -> None: ...

        with pytest.raises(PlacementGroupRemoved):
            get(late.options(placement_group=group).remote())

    @needs("placement_groups")
    def test_waiting_for_a_group_that_is_removed(self) -> None:
        first = shoal.placement_group([{"widget": 2}])
        assert first.wait(60)
        second = shoal.placement_group([{"widget": 1}])
        ready = second.ready()
        shoal.remove_placement_group(second)
        with pytest.raises(PlacementGroupRemoved):
            get(ready)
        shoal.remove_placement_group(first)

    @needs("placement_groups")
    def test_names_of_groups(self) -> None:
        group = shoal.placement_group([{"CPU": 1}], name="named-group")
        assert group == shoal.get_placement_group("named-group")
        with pytest.raises(ConfigError, match="named-group"):
            shoal.placement_group([{"CPU": 1}], name="named-group")
        with pytest.raises(ValueError, match=r"other.*named-group"):
            shoal.get_placement_group("other")
        shoal.remove_placement_group(group)
        with pytest.raises(ValueError, match="named-group"):
            shoal.get_placement_group("named-group")

    @pytest.mark.parametrize(
        ("bundles", "options"),
        [
            ([], {}),
            ([{}], {}),
            ([{"CPU": -1}], {}),
            ([{"CPU": 0.00001}], {}),
            ("CPU", {}),
            ([{"CPU": 1}], {"strategy": "PILE"}),
            ([{"CPU": 1}], {"lifetime": "short"}),
            ([{"CPU": 1}], {"bundle_label_selector": []}),
        ],
    )
    def test_bad_groups_are_refused(self, bundles: Any, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            shoal.placement_group(bundles, **options)

    @needs("placement_groups")
    def test_a_bundle_that_the_group_has_not(self) -> None:
        group = shoal.placement_group([{"CPU": 1}])

        @shoal.remote
        def task() -> None: ...

        with pytest.raises(ConfigError, match="0 to 0"):
            task.options(placement_group=group, placement_group_bundle_index=1)
        shoal.remove_placement_group(group)


class ContextPart(EnginePart):
    """What running code may know of its place."""

    def test_a_driver(self) -> None:
        context = shoal.get_runtime_context()
        assert context.get_task_id() is None
        assert context.get_actor_id() is None
        assert context.get_actor_name() is None
        assert context.namespace == "contract"
        assert len(context.get_job_id()) == 8
        assert 16 == len(context.get_node_id()) == len(context.get_worker_id())
        assert context.get_session_name()
        assert context.get_assigned_resources() == {}
        assert shoal.get_gpu_ids() == []
        with pytest.raises(RuntimeError, match="actor"):
            context.current_actor  # noqa: B018

    def test_a_task(self) -> None:
        @shoal.remote
        def tell() -> dict[str, Any]:
            context = shoal.get_runtime_context()
            return {
                "task": context.get_task_id(),
                "name": context.get_task_name(),
                "function": context.get_task_function_name(),
                "actor": context.get_actor_id(),
                "job": context.get_job_id(),
                "namespace": context.namespace,
                "resources": context.get_assigned_resources(),
                "cancelled": context.is_canceled(),
            }

        ref = tell.options(name="special").remote()
        told = get(ref)
        assert ref.task_id().hex() == told["task"]
        assert told["name"] == "special"
        assert "tell" in told["function"] or told["function"] == "special"
        assert (told["actor"], told["namespace"], told["cancelled"]) == (None, "contract", False)
        assert told["resources"] == {"CPU": 1}
        assert shoal.get_runtime_context().get_job_id() == told["job"]

    def test_an_actor(self) -> None:
        @shoal.remote
        class Tell:
            def tell(self) -> Any:
                context = shoal.get_runtime_context()
                return context.get_actor_id(), context.get_actor_name(), context.get_task_id()

        actor = Tell.options(name="teller").remote()
        actor_id, name, task = get(actor.tell.remote())
        assert actor._actor_id.hex() == actor_id
        assert name == "teller"
        assert task not in (None, actor_id)

    def test_init_and_shutdown_are_the_drivers(self) -> None:
        @shoal.remote
        def try_to(what: str) -> None:
            getattr(shoal, what)()

        for what in ("init", "shutdown"):
            with pytest.raises(RuntimeError, match=what):
                get(try_to.remote(what))

    def test_the_timeline_tells_what_ran(self) -> None:
        @shoal.remote
        def noted() -> None: ...

        get(noted.options(name="a name to find").remote())

        def found() -> list[Any]:
            events = shoal.timeline()
            assert events is not None
            return [event for event in events if event["name"] == "a name to find"]

        wait_for(found, "the event to arrive")
        [event] = found()
        assert event["ph"] == "X"
        assert event["dur"] >= 0

    @needs("runtime_env")
    def test_environment_variables(self) -> None:
        @shoal.remote(runtime_env={"env_vars": {"SOME_VARIABLE": "set"}})
        def read() -> str | None:
            return os.environ.get("SOME_VARIABLE")

        assert get(read.remote()) == "set"
        assert "SOME_VARIABLE" not in os.environ

    def test_work_of_user_threads(self) -> None:
        import threading

        @shoal.remote
        def double(x: int) -> int:
            return 2 * x

        found: dict[int, int] = {}
        threads = [
            threading.Thread(target=lambda i=i: found.__setitem__(i, get(double.remote(i))))  # type: ignore[misc]
            for i in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert {i: 2 * i for i in range(8)} == found
