"""Random walks: work comes and goes, machines fail in every way, and what must hold does. Then quiet returns, and all
that can be met is met, and all that is idle has gone.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.autoscaler.machine import Autoscaler, Drain, Effect, Launch, Terminate
from shoal.autoscaler.policies import DemandPolicy
from shoal.autoscaler.spec import cluster_of
from shoal.interfaces.nodes import GONE, PENDING, RUNNING, STOPPING, Machine, machine_name
from shoal.interfaces.scaling import Need, ScalingNode, ScalingView
from shoal.spec.resources import ResourceSet

SPEC = cluster_of(
    {
        "name": "walk",
        "provider": {"kind": "none"},
        "max_machines": 7,
        "idle_seconds": 20,
        "launch_seconds": 40,
        "backoff_seconds": 2,
        "backoff_max_seconds": 30,
        "node_types": {
            "cpu": {"resources": {"CPU": 4}, "min": 1, "max": 4},
            "gpu": {"resources": {"CPU": 4, "GPU": 1}, "max": 3, "cost": 5},
        },
    }
)
SHAPES = [ResourceSet.of(CPU=1), ResourceSet.of(CPU=3), ResourceSet.of(CPU=1, GPU=1), ResourceSet.of(CPU=9)]


class Walk(RuleBasedStateMachine):
    """A cluster and a provider as they might be, around the real autoscaler."""

    def __init__(self) -> None:
        super().__init__()
        self.scaler = Autoscaler(SPEC, DemandPolicy(), "w")
        self.now = 0.0
        self.machines: dict[str, Machine] = {}
        self.joined: dict[str, list[Any]] = {}  # machine → [running work, draining, version]
        self.waiting: list[ResourceSet] = []
        self.unanswered: list[Launch] = []
        self.launched: dict[str, int] = {}
        self.strangers = 0

    # The cluster

    def free(self, name: str) -> ResourceSet:
        total = SPEC.types[self.machines[name].node_type].resources
        for one in self.joined[name][0]:
            total = total - one
        return total

    def place(self) -> None:
        for shape in list(self.waiting):
            for name, (running, draining, _) in sorted(self.joined.items()):
                if not draining and self.free(name).covers(shape):
                    running.append(shape)
                    self.joined[name][2] += 1
                    self.waiting.remove(shape)
                    break

    def view(self) -> ScalingView:
        nodes = [
            ScalingNode(
                node_id=name,
                machine_id=name,
                node_type=self.machines[name].node_type,
                total=SPEC.types[self.machines[name].node_type].resources,
                available=self.free(name),
                draining=draining,
                version=version,
            )
            for name, (_, draining, version) in self.joined.items()
        ]
        needs = [
            Need(resources=shape, count=self.waiting.count(shape))
            for shape in SHAPES
            if shape in self.waiting
        ]
        return ScalingView(nodes=nodes, needs=needs)

    def step(self, silent: bool = False) -> None:
        effects = self.scaler.step(self.view(), None if silent else list(self.machines.values()), self.now)
        for effect in effects:
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Launch):
            assert effect.count > 0
            assert effect.key not in self.launched
            self.launched[effect.key] = effect.count
            self.unanswered.append(effect)
        elif isinstance(effect, Drain):
            name = effect.machine_id
            assert not self.joined[name][1]
            self.joined[name][1] = True
            self.joined[name][2] += 1
        elif isinstance(effect, Terminate):
            for name in effect.machine_ids:
                machine = self.machines[name]
                if machine.state == GONE:
                    del self.machines[name]
                    continue
                # What ends has nothing that anybody needs, and was drained before.
                if name in self.joined:
                    assert not self.joined[name][0], f"{name} was ended with work on it"
                    assert self.joined[name][1], f"{name} was ended without being drained"
                    del self.joined[name]
                self.machines[name] = attrs.evolve(machine, state=STOPPING)

    @rule(shape=st.sampled_from(SHAPES), count=st.integers(1, 6))
    def work_comes(self, shape: ResourceSet, count: int) -> None:
        self.waiting += [shape] * min(count, 30 - len(self.waiting))
        self.place()

    @precondition(lambda self: any(running for running, _, _ in self.joined.values()))
    @rule(data=st.data())
    def work_ends(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(name for name, one in self.joined.items() if one[0])))
        self.joined[name][0].pop()
        self.joined[name][2] += 1
        self.place()

    @precondition(lambda self: self.waiting)
    @rule()
    def work_is_cancelled(self) -> None:
        self.waiting.pop()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0]), silent=st.booleans())
    def time_passes(self, seconds: float, silent: bool) -> None:
        self.now += seconds
        self.step(silent and seconds < 30)

    # The provider

    @precondition(lambda self: self.unanswered)
    @rule(how=st.sampled_from(["all", "all", "few", "none", "lost", "lost late"]))
    def launch_is_answered(self, how: str) -> None:
        launch = self.unanswered.pop(0)
        count = {"all": launch.count, "few": launch.count - 1, "lost late": launch.count}.get(how, 0)
        made = [
            Machine(machine_id=machine_name(launch.key, i), node_type=launch.node_type, state=PENDING)
            for i in range(count)
        ]
        self.machines |= {one.machine_id: one for one in made}
        if how in ("all", "few"):
            self.scaler.launched(launch.key, made, self.now)
        else:
            self.scaler.launch_failed(launch.key, "no answer", False, self.now)

    @precondition(lambda self: any(one.state == PENDING for one in self.machines.values()))
    @rule(data=st.data(), dies=st.booleans())
    def machine_comes_up(self, data: st.DataObject, dies: bool) -> None:
        pending = sorted(name for name, one in self.machines.items() if one.state == PENDING)
        name = data.draw(st.sampled_from(pending))
        if dies:
            self.machines[name] = attrs.evolve(self.machines[name], state=GONE, reason="it died")
        else:
            self.join(name)

    def join(self, name: str) -> None:
        self.machines[name] = attrs.evolve(self.machines[name], state=RUNNING)
        self.joined[name] = [[], False, 0]
        self.place()

    @precondition(lambda self: self.joined)
    @rule(data=st.data(), known=st.booleans())
    def machine_dies(self, data: st.DataObject, known: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.joined)))
        running, _, _ = self.joined.pop(name)
        self.waiting += running
        if known:
            self.machines[name] = attrs.evolve(self.machines[name], state=GONE, reason="it died")
        self.place()

    @precondition(lambda self: sum(name.startswith("more") for name in self.machines) < 2)
    @rule(node_type=st.sampled_from(["cpu", "gpu", "old"]))
    def a_stranger_turns_up(self, node_type: str) -> None:
        self.strangers += 1
        name = f"more-{self.strangers}"
        self.machines[name] = Machine(
            machine_id=name, node_type=node_type, state=PENDING if node_type != "old" else GONE
        )

    @rule()
    def ending_machines_are_gone(self) -> None:
        for name, one in list(self.machines.items()):
            if one.state == STOPPING:
                self.machines[name] = attrs.evolve(one, state=GONE)

    def a_good_second(self) -> None:
        """The provider does all that it was asked for."""
        self.now += 1.0
        for launch in self.unanswered:
            made = [
                Machine(machine_id=machine_name(launch.key, i), node_type=launch.node_type, state=PENDING)
                for i in range(launch.count)
            ]
            self.machines |= {one.machine_id: one for one in made}
            self.scaler.launched(launch.key, made, self.now)
        self.unanswered.clear()
        self.ending_machines_are_gone()
        for name, one in list(self.machines.items()):
            if one.state == PENDING and one.node_type in SPEC.types:
                self.join(name)

    @rule(seconds=st.sampled_from([3, 10, 45]))
    def all_goes_well(self, seconds: int) -> None:
        """Time passes while work goes on, and nothing fails."""
        for _ in range(seconds):
            self.a_good_second()
            self.step()

    @invariant()
    def it_does_not_contradict_itself(self) -> None:
        self.scaler.validate()

    @invariant()
    def what_is_on_its_way_keeps_the_limits(self) -> None:
        asked = list(self.unanswered)
        assert sum(one.count for one in asked) <= SPEC.max_machines
        for name, node_type in SPEC.types.items():
            assert sum(one.count for one in asked if one.node_type == name) <= node_type.most

    def teardown(self) -> None:
        """Faults are over: what can be met is met, and then all but the least goes."""
        for _ in range(400):
            self.a_good_second()
            for entry in self.joined.values():  # work takes a moment
                if entry[0]:
                    entry[0].pop()
                    entry[2] += 1
            self.place()
            self.step()
            self.scaler.validate()
        left = [shape for shape in self.waiting if shape != SHAPES[3]]
        assert left == [], f"these were not met: {left}"
        up = sorted(self.machines[name].node_type for name, one in self.joined.items() if not one[1])
        assert up == ["cpu"], f"left over: {up}"
        assert sum(one.state in (PENDING, RUNNING) for one in self.machines.values()) == 1
        if SHAPES[3] in self.waiting:
            [unmet] = self.scaler.unmet
            assert unmet.never


Walk.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWalk = Walk.TestCase
