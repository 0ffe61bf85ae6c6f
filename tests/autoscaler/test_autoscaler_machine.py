"""The autoscaler's decisions, step by step, with time in the test's hands."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from shoal.autoscaler.machine import Autoscaler, Drain, Effect, Launch, Terminate
from shoal.autoscaler.policies import DemandPolicy, HeadroomPolicy, PatientPolicy
from shoal.autoscaler.spec import ClusterSpec, cluster_of
from shoal.errors import ConfigError
from shoal.interfaces.nodes import GONE, PENDING, RUNNING, STOPPING, Machine
from shoal.interfaces.scaling import Need, ScalingNode, ScalingPolicy, ScalingView
from shoal.spec.resources import ResourceSet

SPEC = {
    "name": "test",
    "provider": {"kind": "none"},
    "max_machines": 6,
    "idle_seconds": 60,
    "backoff_seconds": 5,
    "node_types": {
        "cpu": {"resources": {"CPU": 4}, "max": 4},
        "gpu": {"resources": {"CPU": 4, "GPU": 1}, "max": 2, "cost": 5},
    },
}


def spec(**changes: Any) -> ClusterSpec:
    return cluster_of({**SPEC, **changes})


def need(count: int = 1, **amounts: float) -> Need:
    return Need(resources=ResourceSet.of(amounts), count=count, what="work")


class Stage:
    """The machine under test, what its provider has and what its cluster is."""

    def __init__(self, spec: ClusterSpec, policy: ScalingPolicy | None = None) -> None:
        self.spec = spec
        self.scaler = Autoscaler(spec, policy or DemandPolicy(), "k")
        self.now = 1000.0
        self.machines: dict[str, Machine] = {}
        self.nodes: dict[str, ScalingNode] = {}
        self.needs: list[Need] = []
        self.requests: list[Need] = []
        self.silent = False

    def step(self, seconds: float = 1.0) -> list[Effect]:
        self.now += seconds
        view = ScalingView(nodes=list(self.nodes.values()), needs=self.needs, requests=self.requests)
        effects = self.scaler.step(view, None if self.silent else list(self.machines.values()), self.now)
        self.scaler.validate()
        return effects

    def answer(self, launch: Effect, count: int | None = None) -> None:
        assert isinstance(launch, Launch)
        made = []
        for index in range(launch.count if count is None else count):
            name = f"{launch.key}-{index}"
            made.append(Machine(machine_id=name, node_type=launch.node_type, state=PENDING))
            self.machines[name] = made[-1]
        self.scaler.launched(launch.key, made, self.now)

    def join(self, name: str, **changes: Any) -> None:
        machine = self.machines[name] = attrs.evolve(self.machines[name], state=RUNNING)
        total = self.spec.types[machine.node_type].resources
        fields = {"total": total, "available": total, "version": len(self.nodes), **changes}
        self.nodes[name] = ScalingNode(
            node_id="n" + name, machine_id=name, node_type=machine.node_type, **fields
        )

    def change(self, name: str, **changes: Any) -> None:
        node = self.nodes[name]
        self.nodes[name] = attrs.evolve(node, version=node.version + 100, **changes)

    def up(self, count: int, **changes: Any) -> list[str]:
        """Bring machines of 4 CPUs up for as many wishes."""
        self.needs = [need(count, CPU=4)]
        [launch] = self.step()
        self.answer(launch)
        names = [f"{launch.key}-{index}" for index in range(count)]  # type: ignore[union-attr]
        for name in names:
            self.join(name, **changes)
        self.needs = []
        self.step()
        return names


@pytest.fixture
def stage() -> Stage:
    return Stage(spec())


def test_what_waits_gets_machines_once(stage: Stage) -> None:
    stage.needs = [need(8, CPU=1)]
    [launch] = stage.step()
    assert launch == Launch(key=launch.key, node_type="cpu", count=2)  # type: ignore[union-attr]
    assert stage.step() == []  # it is on its way, though nobody has answered
    stage.answer(launch)
    assert stage.step() == []  # it starts
    for name in list(stage.machines):
        stage.join(name)
    assert stage.step() == []  # it is there, and free


def test_there_are_always_as_many_as_the_least() -> None:
    types = {"cpu": {"resources": {"CPU": 4}, "min": 2, "max": 4}}
    stage = Stage(spec(node_types=types))
    [launch] = stage.step()
    assert (launch.node_type, launch.count) == ("cpu", 2)  # type: ignore[union-attr]
    stage.answer(launch)
    for name in list(stage.machines):
        stage.join(name)
    assert stage.step(10_000) == []
    assert stage.step(10_000) == []
    assert {one.state for one in stage.scaler.machines.values()} == {"UP"}


def test_an_idle_machine_is_drained_and_then_ended(stage: Stage) -> None:
    [name] = stage.up(1)
    assert stage.step(1) == []
    assert stage.step(59) == []
    [drain] = stage.step(2)
    assert drain == Drain(node_id="n" + name, machine_id=name)
    assert stage.step(1) == []  # the head has not said so yet
    stage.change(name, draining=True)
    assert stage.step(1) == []
    assert stage.step(0.5) == []
    [terminate] = stage.step(1)
    assert terminate == Terminate(machine_ids=(name,))
    stage.machines[name] = attrs.evolve(stage.machines[name], state=GONE)
    del stage.nodes[name]
    assert stage.step() == [Terminate(machine_ids=(name,))]  # to be forgotten
    assert stage.scaler.machines == {}


def test_work_that_came_while_it_was_drained_is_waited_for(stage: Stage) -> None:
    [name] = stage.up(1)
    stage.step(1)
    assert stage.step(61)
    stage.change(name, draining=True, available=ResourceSet.of(CPU=1))
    for _ in range(20):
        assert stage.step(100) == []
    stage.change(name, available=ResourceSet.of(CPU=4))
    stage.step(1)
    stage.step(1)
    assert stage.step(2) == [Terminate(machine_ids=(name,))]


@pytest.mark.parametrize("changes", [{"in_use": "2 objects"}, {"available": ResourceSet.of(CPU=3)}])
def test_a_machine_that_is_needed_for_anything_stays(stage: Stage, changes: dict[str, Any]) -> None:
    stage.up(1, **changes)
    assert [stage.step(100) for _ in range(10)] == [[]] * 10


def test_a_short_task_between_two_looks_counts_as_use(stage: Stage) -> None:
    [name] = stage.up(1)
    for _ in range(5):
        assert stage.step(50) == []
        stage.change(name)  # something has come and gone
    stage.step(1)
    stage.step(1)
    assert stage.step(61) != []


def test_nodes_that_it_has_not_launched_are_left_alone(stage: Stage) -> None:
    total = ResourceSet.of(CPU=4)
    stage.nodes["own"] = ScalingNode(node_id="n", machine_id="", node_type="", total=total, available=total)
    assert [stage.step(1000) for _ in range(5)] == [[]] * 5
    stage.needs = [need(1, CPU=4)]
    assert stage.step() == []  # and used


def test_what_is_requested_stays_though_it_is_idle(stage: Stage) -> None:
    stage.requests = [need(8, CPU=1)]
    [launch] = stage.step()
    stage.answer(launch)
    for name in list(stage.machines):
        stage.join(name, available=ResourceSet.of(CPU=0))  # in use: the request counts whole machines
    assert [stage.step(1000) for _ in range(3)] == [[]] * 3
    for name in list(stage.machines):
        stage.change(name, available=ResourceSet.of(CPU=4))
    assert [stage.step(1000) for _ in range(3)] == [[]] * 3
    stage.requests = [need(4, CPU=1)]
    assert len(stage.step(1000)) == 1  # the other one may go


def test_the_limits_hold_for_all_types_together(stage: Stage) -> None:
    stage.needs = [need(40, CPU=4), need(5, CPU=1, GPU=1)]
    launches = stage.step()
    for launch in launches:
        stage.answer(launch)
    for name in stage.machines:
        stage.join(name, available=ResourceSet())
    launches += stage.step()
    counts = {one.node_type: one.count for one in launches}  # type: ignore[union-attr]
    assert counts["cpu"] == 4
    assert sum(one.count for one in launches) == 6  # type: ignore[union-attr]
    assert {one.need.what for one in stage.scaler.unmet} == {"work"}


def test_only_so_many_start_at_once() -> None:
    types = {"cpu": {"resources": {"CPU": 4}, "max": 100}}
    stage = Stage(spec(node_types=types, max_machines=100, upscaling_speed=1.0))
    stage.needs = [need(100, CPU=4)]
    counts = []
    for _ in range(6):
        [launch] = stage.step()
        counts.append(launch.count)  # type: ignore[union-attr]
        assert stage.step() == []
        stage.answer(launch)
        for name in list(stage.machines):
            if name not in stage.nodes:
                stage.join(name, available=ResourceSet())
        stage.needs = [need(100 - len(stage.nodes), CPU=4)]
    assert counts == [5, 5, 10, 20, 40, 20]


def test_failed_launches_wait_twice_as_long_each_time(stage: Stage) -> None:
    stage.needs = [need(1, CPU=4)]
    [launch] = stage.step()
    waits = []
    for _ in range(8):
        stage.scaler.launch_failed(launch.key, "no quota", False, stage.now)  # type: ignore[union-attr]
        begun = stage.now
        assert stage.step(0.1) == []
        [unmet] = stage.scaler.report(stage.now)["unmet"]
        assert "no quota" in unmet["reason"]
        while not (effects := stage.step(0.5)):
            assert stage.now - begun < 1000
        [launch] = effects
        waits.append(stage.now - begun)
    assert waits == pytest.approx([5, 10, 20, 40, 80, 160, 320, 600], abs=1)
    assert stage.scaler.report(stage.now)["types"][0]["error"] == "no quota"
    stage.answer(launch)
    stage.join(f"{launch.key}-0")  # type: ignore[union-attr]
    stage.step()
    assert stage.scaler.types["cpu"].failures == 0


def test_a_machine_with_a_gpu_is_no_stopgap_while_launches_of_others_fail(stage: Stage) -> None:
    stage.needs = [need(1, CPU=4)]
    [launch] = stage.step()
    stage.scaler.launch_failed(launch.key, "no quota", False, stage.now)  # type: ignore[union-attr]
    assert stage.step() == []
    stage.needs = [need(1, CPU=4, GPU=1)]
    [launch] = stage.step()
    assert launch.node_type == "gpu"  # type: ignore[union-attr]


def test_another_type_is_launched_while_one_fails() -> None:
    types = {
        "cheap": {"resources": {"CPU": 4}, "cost": 1},
        "dear": {"resources": {"CPU": 4}, "cost": 9},
    }
    stage = Stage(spec(node_types=types))
    stage.needs = [need(1, CPU=4)]
    [launch] = stage.step()
    assert launch.node_type == "cheap"  # type: ignore[union-attr]
    stage.scaler.launch_failed(launch.key, "sold out", False, stage.now)  # type: ignore[union-attr]
    [launch] = stage.step()
    assert launch.node_type == "dear"  # type: ignore[union-attr]


def test_a_launch_that_can_never_work_waits_longest(stage: Stage) -> None:
    stage.needs = [need(1, CPU=4)]
    [launch] = stage.step()
    stage.scaler.launch_failed(launch.key, "no such image", True, stage.now)  # type: ignore[union-attr]
    assert stage.scaler.types["cpu"].blocked_until == stage.now + stage.spec.backoff_max_seconds
    assert "no such image" in stage.scaler.report(stage.now)["events"][-1]["text"]


def test_too_few_machines_are_a_failure_and_the_rest_is_launched_later(stage: Stage) -> None:
    stage.needs = [need(3, CPU=4)]
    [launch] = stage.step()
    stage.answer(launch, count=1)
    assert "1 of 3" in stage.scaler.types["cpu"].error
    assert stage.step() == []
    [second] = stage.step(6)
    assert second.count == 2  # type: ignore[union-attr]
    assert second.key != launch.key  # type: ignore[union-attr]


def test_too_many_machines_are_ended_those_first_that_have_not_joined(stage: Stage) -> None:
    names = stage.up(4)
    stage.needs = [need(4, CPU=4)]
    for index in range(3):
        name = f"stranger-{index}"
        stage.machines[name] = Machine(machine_id=name, node_type="cpu", state=PENDING)
    [terminate] = stage.step()
    assert terminate == Terminate(machine_ids=("stranger-0", "stranger-1", "stranger-2"))
    assert all(stage.scaler.machines[name].state == "UP" for name in names)


def test_machines_of_a_type_that_is_not_in_the_file_any_more_end_when_idle(stage: Stage) -> None:
    stage.machines["old-0"] = Machine(machine_id="old-0", node_type="old", state=RUNNING)
    total = ResourceSet.of(CPU=2)
    stage.nodes["old-0"] = ScalingNode(
        node_id="nold", machine_id="old-0", node_type="old", total=total, available=total
    )
    stage.step()
    stage.step()
    assert stage.step() == [Drain(node_id="nold", machine_id="old-0")] or any(
        one.state == "DRAINING" for one in stage.scaler.machines.values()
    )


def test_a_machine_that_never_joins_is_ended_and_is_a_failure() -> None:
    stage = Stage(spec(launch_seconds=30))
    stage.needs = [need(1, CPU=4)]
    [launch] = stage.step()
    stage.answer(launch)
    assert stage.step(29) == []
    effects = stage.step(2)
    assert Terminate(machine_ids=(f"{launch.key}-0",)) in effects  # type: ignore[union-attr]
    assert "did not join" in stage.scaler.types["cpu"].error
    assert not [one for one in effects if isinstance(one, Launch) and one.node_type == "cpu"]


def test_a_machine_that_dies_before_it_joins_is_a_failure_with_its_reason(stage: Stage) -> None:
    stage.needs = [need(1, CPU=4)]
    [launch] = stage.step()
    stage.answer(launch)
    name = f"{launch.key}-0"  # type: ignore[union-attr]
    stage.machines[name] = attrs.evolve(stage.machines[name], state=GONE, reason="disk full")
    assert Terminate(machine_ids=(name,)) in stage.step()
    assert "disk full" in stage.scaler.types["cpu"].error


def test_a_node_that_dies_takes_its_machine_along_and_another_comes(stage: Stage) -> None:
    [name] = stage.up(1, in_use="work")
    del stage.nodes[name]
    stage.needs = [need(1, CPU=4)]
    effects = stage.step()
    assert Terminate(machine_ids=(name,)) in effects
    assert any(isinstance(one, Launch) for one in effects)


def test_a_provider_that_is_silent_changes_nothing(stage: Stage) -> None:
    stage.up(2)
    stage.silent = True
    stage.scaler.provider_silent("timed out", stage.now)
    stage.needs = [need(8, CPU=4)]
    assert [stage.step(1000) for _ in range(5)] == [[]] * 5
    assert stage.scaler.report(stage.now)["silent"] == "timed out"
    stage.silent = False
    assert stage.step() != []
    assert stage.scaler.report(stage.now)["silent"] == ""


def test_a_launch_whose_answer_was_lost_is_not_launched_again_when_it_turns_up(stage: Stage) -> None:
    stage.needs = [need(1, CPU=4)]
    [launch] = stage.step()
    name = f"{launch.key}-0"  # type: ignore[union-attr]
    stage.scaler.launch_failed(launch.key, "no answer in 60 s", False, stage.now)  # type: ignore[union-attr]
    stage.machines[name] = Machine(machine_id=name, node_type="cpu", state=PENDING)
    assert stage.step(60) == []


def test_an_autoscaler_that_is_started_again_takes_over_what_there_is(stage: Stage) -> None:
    names = stage.up(2)
    second = Stage(stage.spec)
    second.machines, second.nodes = stage.machines, stage.nodes
    assert second.step() == []
    assert {one.machine_id: one.state for one in second.scaler.machines.values()} == dict.fromkeys(
        names, "UP"
    )


def test_a_machine_that_others_end_is_replaced_if_it_is_needed(stage: Stage) -> None:
    [name] = stage.up(1, available=ResourceSet())
    stage.machines[name] = attrs.evolve(stage.machines[name], state=STOPPING)
    stage.needs = [need(1, CPU=4)]
    [launch] = stage.step()
    assert isinstance(launch, Launch)


def test_another_description_is_a_new_try(stage: Stage) -> None:
    stage.needs = [need(2, CPU=4)]
    [launch] = stage.step()
    stage.scaler.launch_failed(launch.key, "no such image", True, stage.now)  # type: ignore[union-attr]
    assert stage.step() == []
    stage.scaler.change(spec(max_machines=1), DemandPolicy())
    [launch] = stage.step()
    assert launch.count == 1  # type: ignore[union-attr]
    other = spec(node_types={"big": {"resources": {"CPU": 8}}})
    stage.scaler.change(other, DemandPolicy())
    assert stage.scaler.flights == {}
    stage.machines["late"] = Machine(machine_id=f"{launch.key}-0", node_type="cpu", state=PENDING)  # type: ignore[union-attr]
    effects = stage.step()
    assert Terminate(machine_ids=(f"{launch.key}-0",)) in effects  # type: ignore[union-attr]
    assert [one.node_type for one in effects if isinstance(one, Launch)] == ["big"]


def test_an_end_that_failed_is_asked_for_again(stage: Stage) -> None:
    [name] = stage.up(1)
    del stage.nodes[name]
    assert stage.step() == [Terminate(machine_ids=(name,))]
    stage.scaler.terminate_failed([name], "try later", stage.now)
    assert stage.step(1) == []
    assert stage.step(60) == [Terminate(machine_ids=(name,))]


def test_what_can_never_be_held_is_given_up_with_a_reason(stage: Stage) -> None:
    stage.needs = [need(1, CPU=100)]
    assert stage.step() == []
    [unmet] = stage.scaler.report(stage.now)["unmet"]
    assert unmet["never"]
    assert "cpu lacks" in unmet["reason"]


def test_patience_waits_before_it_pays() -> None:
    stage = Stage(spec(), PatientPolicy({"wait_seconds": 30}))
    stage.needs = [need(1, CPU=4)]
    assert stage.step() == []
    assert stage.step(29) == []
    stage.needs = []
    assert stage.step(10) == []
    stage.needs = [need(1, CPU=4)]
    assert stage.step() == []  # it has waited anew
    assert stage.step(31) != []


def test_headroom_keeps_cpus_free() -> None:
    stage = Stage(spec(), HeadroomPolicy({"share": 0.5, "least": 1}))
    [launch] = stage.step()
    assert launch.count == 1  # type: ignore[union-attr]
    stage.answer(launch)
    [name] = stage.machines
    stage.join(name)
    assert [stage.step(1000) for _ in range(3)] == [[]] * 3  # and it stays
    stage.change(name, available=ResourceSet())
    [launch] = stage.step()
    assert launch.count == 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        (DemandPolicy, {"share": 1}),
        (PatientPolicy, {"wait_seconds": -1}),
        (PatientPolicy, {"wait": 1}),
        (HeadroomPolicy, {"share": "much"}),
        (HeadroomPolicy, {"least": True}),
    ],
)
def test_options_of_policies_are_checked(policy: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=policy.name):
        policy(options)
