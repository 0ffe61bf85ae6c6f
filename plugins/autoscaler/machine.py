"""The autoscaler as a state machine: what there is and what waits comes in, what to do comes out. No I/O, no clock.

    (launch) → LAUNCHING → STARTING → UP → DRAINING → ENDING → (forgotten)

`step` compares what is wanted with what there is. What was asked of the provider and not answered yet counts as being
on its way, so nothing is launched twice; what a launch did not bring, or brought dead, is a failure of its type, and
each failure doubles the time until that type is tried again. A machine ends only after the head gives its node no new
work and the node has nothing any more, seen twice without a change between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shoal.autoscaler.packing import Bin, Unmet, labels_of, new_bin, pack
from shoal.autoscaler.policies import aged
from shoal.autoscaler.spec import ClusterSpec
from shoal.interfaces.nodes import GONE, STOPPING, Machine, NodeType, machine_name
from shoal.interfaces.scaling import Need, ScalingNode, ScalingPolicy, ScalingView

LAUNCHING, STARTING, UP, DRAINING, ENDING = "LAUNCHING", "STARTING", "UP", "DRAINING", "ENDING"
STATES = (LAUNCHING, STARTING, UP, DRAINING, ENDING)

_LEAST_STARTING = 5  # machines may be on their way at once, however small the cluster is
_SETTLE_SECONDS = 1.0  # a drained node must show nothing for this long: what was granted before is on its way
_EVENTS_KEPT = 50


@attrs.frozen(kw_only=True)
class Launch:
    """Ask the provider for machines. To be answered by `launched` or `launch_failed`."""

    key: str
    node_type: str
    count: int


@attrs.frozen(kw_only=True)
class Drain:
    """Ask the head to give a node no new work."""

    node_id: str
    machine_id: str


@attrs.frozen(kw_only=True)
class Terminate:
    """Ask the provider to end machines, or to forget those that are gone."""

    machine_ids: tuple[str, ...]


Effect = Launch | Drain | Terminate


@attrs.define(eq=False, kw_only=True)
class Tracked:
    """A machine as the autoscaler follows it."""

    machine_id: str
    node_type: str
    state: str
    since: float  # of its state
    node_id: str = ""
    idle_since: float | None = None  # while nothing happens on its node
    version: int = -1  # of its node, when it was seen last
    asked_end: float = -math.inf  # when its end was last asked for


@attrs.define(eq=False, kw_only=True)
class TypeState:
    """What is known of a node type's launches."""

    failures: int = 0  # in a row
    blocked_until: float = -math.inf
    error: str = ""
    failed_at: float = 0.0


@attrs.define(eq=False, kw_only=True)
class Flight:
    """A launch that is not answered yet."""

    node_type: str
    count: int
    since: float


class Autoscaler:
    """What one autoscaler knows. Times are of one clock, in seconds, and come with the calls."""

    def __init__(self, spec: ClusterSpec, policy: ScalingPolicy, prefix: str) -> None:
        """`prefix` begins the keys of all launches: no other autoscaler of the cluster may have used it."""
        self.spec = spec
        self.machines: dict[str, Tracked] = {}
        self.types: dict[str, TypeState] = {name: TypeState() for name in spec.types}
        self.flights: dict[str, Flight] = {}
        self.unmet: list[Unmet] = []
        self.events: list[tuple[float, str]] = []  # what was decided, and what failed: newest last
        self._policy = policy
        self._prefix = prefix
        self._count = 0
        self._waiting_since: dict[tuple[Any, ...], float] = {}
        self._waiting: list[Need] = []
        self._silent_since: float | None = None  # the provider does not answer
        self._silence = ""

    def change(self, spec: ClusterSpec, policy: ScalingPolicy) -> None:
        """Go on with another description: launches that failed are tried again at once, since it may be the cure."""
        self.spec = spec
        self._policy = policy
        self.types = {name: TypeState() for name in spec.types}
        for key in [key for key, flight in self.flights.items() if flight.node_type not in spec.types]:
            del self.flights[key]  # what comes of it is one too many

    # Answers

    def launched(self, key: str, machines: Sequence[Machine], now: float) -> None:
        """A launch was answered: these will come. Fewer than asked for is a failure, with what there is kept."""
        flight = self.flights.pop(key, None)
        if flight is None:
            return
        for machine in machines:
            if machine.machine_id not in self.machines and machine.state != GONE:
                self._track(machine, STARTING, now)
        short = flight.count - len(machines)
        if short > 0:
            self._fail(flight.node_type, f"{len(machines)} of {flight.count} machines were launched", now)

    def launch_failed(self, key: str, why: str, permanent: bool, now: float) -> None:
        """A launch has failed, or was not answered in time: in that case its machines may still turn up."""
        flight = self.flights.pop(key, None)
        if flight is not None:
            self._fail(flight.node_type, why, now, permanent)

    def terminate_failed(self, machine_ids: Sequence[str], why: str, now: float) -> None:
        """Machines could not be ended: it is tried again."""
        self._note(now, f"{', '.join(machine_ids)} cannot be ended: {why}")

    def provider_silent(self, why: str, now: float) -> None:
        """The provider could not list its machines."""
        if self._silent_since is None:
            self._silent_since = now
            self._note(now, f"the provider does not tell its machines: {why}")
        self._silence = why

    def _fail(self, node_type: str, why: str, now: float, permanent: bool = False) -> None:
        state = self.types.get(node_type)
        if state is None:
            return
        state.failures += 1
        backoff = min(
            self.spec.backoff_seconds * 2 ** min(state.failures - 1, 30), self.spec.backoff_max_seconds
        )
        state.blocked_until = now + (self.spec.backoff_max_seconds if permanent else backoff)
        state.error, state.failed_at = why, now
        self._note(now, f"{node_type}: {why}; tried again in {state.blocked_until - now:.0f} s")

    # The step

    def step(self, view: ScalingView, machines: Sequence[Machine] | None, now: float) -> list[Effect]:
        """Return what to do now. `machines` is None if the provider does not answer: then nothing ends or begins."""
        self._waiting = aged(view.needs, self._waiting_since, now)
        view = attrs.evolve(view, needs=self._waiting)
        if machines is None:
            self._follow_nodes(view, now)
            return []
        self._silent_since = None
        effects: list[Effect] = list(self._follow(view, machines, now))
        self._follow_nodes(view, now)
        wanted = self._policy.needs(view)
        keep, launches = self._grow(wanted, view, now)
        effects += launches
        effects += self._shrink(view, keep, now)
        return effects

    def _track(self, machine: Machine, state: str, now: float) -> Tracked:
        tracked = Tracked(machine_id=machine.machine_id, node_type=machine.node_type, state=state, since=now)
        self.machines[machine.machine_id] = tracked
        return tracked

    def _follow(self, view: ScalingView, machines: Sequence[Machine], now: float) -> list[Effect]:
        """Take over what the provider says of its machines."""
        listed = {machine.machine_id: machine for machine in machines}
        joined = {node.machine_id for node in view.nodes if node.machine_id}
        ending: list[str] = []
        for machine_id, machine in listed.items():
            tracked = self.machines.get(machine_id)
            if machine.state == GONE:
                if tracked is not None:
                    self._gone(tracked, machine.reason, now)
                ending.append(machine_id)  # to be forgotten
                continue
            if tracked is None:
                tracked = self._track(machine, STARTING, now)
            if machine.state == STOPPING and tracked.state != ENDING:
                self._move(tracked, ENDING, now)
                tracked.asked_end = now
            elif tracked.state == ENDING and now - tracked.asked_end >= self.spec.terminate_seconds:
                tracked.asked_end = now
                ending.append(machine_id)
            elif tracked.state == STARTING and machine_id not in joined:
                waited = now - tracked.since
                if waited >= self.spec.launch_seconds:
                    text = (
                        f"{machine_id} ({machine.place}) did not join within {self.spec.launch_seconds:g} s"
                    )
                    self._fail(tracked.node_type, text, now)
                    self._end(tracked, ending, now)
        for tracked in list(self.machines.values()):
            if tracked.machine_id not in listed and now - tracked.since >= self.spec.settle_seconds:
                self._gone(tracked, "its provider does not know it any more", now)
        return [Terminate(machine_ids=tuple(ending))] if ending else []

    def _gone(self, tracked: Tracked, reason: str, now: float) -> None:
        del self.machines[tracked.machine_id]
        if tracked.state in (LAUNCHING, STARTING):
            self._fail(tracked.node_type, f"{tracked.machine_id} never joined: {reason or 'it is gone'}", now)
        elif tracked.state != ENDING:
            self._note(now, f"{tracked.machine_id} is gone: {reason}")

    def _end(self, tracked: Tracked, ending: list[str], now: float) -> None:
        self._move(tracked, ENDING, now)
        tracked.asked_end = now
        ending.append(tracked.machine_id)

    def _move(self, tracked: Tracked, state: str, now: float) -> None:
        tracked.state, tracked.since = state, now

    def _follow_nodes(self, view: ScalingView, now: float) -> None:
        """Take over what the cluster says of its nodes."""
        nodes = {node.machine_id: node for node in view.nodes if node.machine_id}
        for tracked in self.machines.values():
            node = nodes.get(tracked.machine_id)
            if node is None:
                tracked.idle_since = None
                if tracked.state in (UP, DRAINING) and tracked.node_id:
                    # Its node has died, and the machine with it as far as we are concerned.
                    self._note(now, f"the node on {tracked.machine_id} is gone")
                    self._move(tracked, ENDING, now)
                continue
            tracked.node_id = node.node_id
            if tracked.state in (LAUNCHING, STARTING):
                self._move(tracked, UP, now)
                state = self.types.get(tracked.node_type)
                if state is not None:
                    state.failures, state.blocked_until, state.error = 0, -math.inf, ""
            if node.draining and tracked.state == UP:
                self._move(tracked, DRAINING, now)
            quiet = not node.in_use and node.available.covers(node.total) and node.version == tracked.version
            tracked.version = node.version
            if not quiet:
                tracked.idle_since = None
            elif tracked.idle_since is None:
                tracked.idle_since = now

    # Growing

    def _grow(
        self, wanted: Sequence[Need], view: ScalingView, now: float
    ) -> tuple[frozenset[str], list[Effect]]:
        """Return the machines that are needed, and the launches of more."""
        counts = self._counts()
        blocked = frozenset(name for name, state in self.types.items() if state.blocked_until > now)
        room = {
            name: 0 if name in blocked else node_type.most - counts.get(name, 0)
            for name, node_type in self.spec.types.items()
        }
        most = self.spec.max_machines - sum(counts.values())
        types = list(self.spec.types.values())
        packed = pack(wanted, self._free_bins(view), types, room, most, blocked)
        # What is asked for by name counts on whole machines, in use or not; what is launched for needs is among them.
        whole = self._whole_bins(view)
        for name, count in packed.launch.items():
            whole += [new_bin(self.spec.types[name], f"+{name}{index}") for index in range(count)]
            room[name] -= count
        most -= sum(packed.launch.values())
        asked = pack(view.requests, whole, types, room, most, blocked)
        launch = dict(packed.launch)
        for name, count in asked.launch.items():
            launch[name] = launch.get(name, 0) + count
            room[name] -= count
        most -= sum(asked.launch.values())
        for name, node_type in self.spec.types.items():
            lacking = min(node_type.least - counts.get(name, 0) - launch.get(name, 0), room[name], most)
            if lacking > 0:
                launch[name] = launch.get(name, 0) + lacking
                most -= lacking
        self.unmet = [*self._with_blocks(packed.unmet, now), *self._with_blocks(asked.unmet, now)]
        return packed.used | asked.used, self._launches(launch, view, now)

    def _with_blocks(self, unmet: Sequence[Unmet], now: float) -> list[Unmet]:
        """Say of what waits only since launches have failed that it does."""
        found = []
        for one in unmet:
            failing = [
                f"{name} ({state.error}; tried again in {state.blocked_until - now:.0f} s)"
                for name, state in self.types.items()
                if state.blocked_until > now and self.spec.types[name].resources.covers(one.need.resources)
            ]
            if failing and not one.never:
                one = attrs.evolve(one, reason=f"launches fail: {'; '.join(failing)}")
            found.append(one)
        return found

    def _launches(self, launch: Mapping[str, int], view: ScalingView, now: float) -> list[Effect]:
        """Launch as many at once as the upscaling speed allows."""
        starting = sum(flight.count for flight in self.flights.values())
        starting += sum(tracked.state in (LAUNCHING, STARTING) for tracked in self.machines.values())
        up = sum(1 for node in view.nodes if not node.draining)
        allowed = max(_LEAST_STARTING, math.ceil(self.spec.upscaling_speed * up)) - starting
        effects: list[Effect] = []
        for name in sorted(launch):
            count = min(launch[name], allowed)
            if count < 1:
                continue
            allowed -= count
            self._count += 1
            key = f"{name}-{self._prefix}{self._count}"
            self.flights[key] = Flight(node_type=name, count=count, since=now)
            self._note(now, f"launching {count} of {name}")
            effects.append(Launch(key=key, node_type=name, count=count))
        return effects

    def _counts(self) -> dict[str, int]:
        """Return how many machines of each type there are or will be."""
        counts: dict[str, int] = {}
        for tracked in self.machines.values():
            if tracked.state != ENDING:
                counts[tracked.node_type] = counts.get(tracked.node_type, 0) + 1
        for key, flight in self.flights.items():
            turned_up = sum(machine_name(key, i) in self.machines for i in range(flight.count))
            counts[flight.node_type] = counts.get(flight.node_type, 0) + flight.count - turned_up
        return counts

    def _coming(self) -> list[Bin]:
        """Return the machines that are on their way."""
        found = [
            new_bin(self.spec.types[tracked.node_type], tracked.machine_id)
            for tracked in self.machines.values()
            if tracked.state in (LAUNCHING, STARTING) and tracked.node_type in self.spec.types
        ]
        for key, flight in self.flights.items():
            names = [machine_name(key, index) for index in range(flight.count)]
            found += [
                new_bin(self.spec.types[flight.node_type], name)
                for name in names
                if name not in self.machines
            ]
        return found

    def _ending(self, node: ScalingNode) -> bool:
        tracked = self.machines.get(node.machine_id)
        return node.draining or (tracked is not None and tracked.state in (DRAINING, ENDING))

    def _free_bins(self, view: ScalingView) -> list[Bin]:
        return self._node_bins(view, whole=False) + self._coming()

    def _whole_bins(self, view: ScalingView) -> list[Bin]:
        return self._node_bins(view, whole=True) + self._coming()

    def _node_bins(self, view: ScalingView, whole: bool) -> list[Bin]:
        return [
            Bin(
                node.node_type,
                dict((node.total if whole else node.available).units),
                node.labels,
                node.machine_id or node.node_id,
            )
            for node in view.nodes
            if not self._ending(node)
        ]

    # Shrinking

    def _shrink(self, view: ScalingView, keep: frozenset[str], now: float) -> list[Effect]:
        nodes = {node.machine_id: node for node in view.nodes if node.machine_id}
        counts = self._counts()
        over = sum(counts.values()) - self.spec.max_machines
        effects: list[Effect] = []
        ending: list[str] = []
        # The longest idle first, and what has not joined before what has.
        order = sorted(
            self.machines.values(),
            key=lambda one: (
                one.state != STARTING,
                one.idle_since if one.idle_since is not None else math.inf,
                one.machine_id,
            ),
        )
        for tracked in order:
            node_type = self.spec.types.get(tracked.node_type)
            count = counts.get(tracked.node_type, 0)
            surplus = node_type is None or count > node_type.most or over > 0
            node = nodes.get(tracked.machine_id)
            if tracked.state == STARTING and surplus:
                self._note(now, f"{tracked.machine_id} is one too many")
                self._end(tracked, ending, now)
            elif tracked.state == UP and node is not None and tracked.idle_since is not None:
                idle = now - tracked.idle_since
                least = 0 if node_type is None else node_type.least
                if count <= least or not (surplus or self._may_end(tracked, node_type, idle, keep)):
                    continue
                why = "is one too many" if surplus else f"was idle for {idle:.0f} s"
                self._note(now, f"{tracked.machine_id} {why}: draining it")
                effects.append(Drain(node_id=node.node_id, machine_id=tracked.machine_id))
                self._move(tracked, DRAINING, now)
                tracked.idle_since = None
            elif tracked.state == DRAINING and node is not None and node.draining:
                if tracked.idle_since is not None and now - tracked.idle_since >= _SETTLE_SECONDS:
                    self._note(now, f"ending {tracked.machine_id}")
                    self._end(tracked, ending, now)
                continue
            elif tracked.state == DRAINING and node is not None:
                if (
                    now - tracked.since >= self.spec.settle_seconds
                ):  # the head has not heard it, or was another
                    effects.append(Drain(node_id=node.node_id, machine_id=tracked.machine_id))
                    self._move(tracked, DRAINING, now)
                continue
            elif tracked.state == ENDING and tracked.asked_end == -math.inf:
                tracked.asked_end = now
                ending.append(tracked.machine_id)
                continue
            else:
                continue
            counts[tracked.node_type] = count - 1
            over -= 1
        if ending:
            effects.append(Terminate(machine_ids=tuple(ending)))
        return effects

    def _may_end(
        self, tracked: Tracked, node_type: NodeType | None, idle: float, keep: frozenset[str]
    ) -> bool:
        if tracked.machine_id in keep:
            return False
        seconds = self.spec.idle_seconds
        if node_type is None:
            return idle >= seconds
        if node_type.idle_seconds is not None:
            seconds = node_type.idle_seconds
        return idle >= self._policy.idle_seconds(node_type, seconds)

    # Looking in

    def _note(self, now: float, text: str) -> None:
        self.events.append((now, text))
        del self.events[:-_EVENTS_KEPT]

    def report(self, now: float) -> dict[str, Any]:
        """Return what people may want to know, as plain data; times are seconds ago."""
        counts = self._counts()
        return {
            "cluster": self.spec.name,
            "policy": self._policy.name,
            "provider": self.spec.provider,
            "silent": "" if self._silent_since is None else self._silence,
            "types": [
                {
                    "name": name,
                    "count": counts.get(name, 0),
                    "up": sum(one.node_type == name and one.state == UP for one in self.machines.values()),
                    "least": node_type.least,
                    "most": node_type.most,
                    "resources": node_type.resources.to_floats(),
                    "failures": self.types[name].failures,
                    "error": self.types[name].error,
                    "retry_seconds": max(0.0, self.types[name].blocked_until - now)
                    if self.types[name].failures
                    else 0.0,
                }
                for name, node_type in sorted(self.spec.types.items())
            ],
            "machines": [
                {
                    "machine": one.machine_id,
                    "type": one.node_type,
                    "state": one.state,
                    "node": one.node_id,
                    "seconds": now - one.since,
                    "idle": None if one.idle_since is None else now - one.idle_since,
                }
                for one in sorted(self.machines.values(), key=lambda one: one.machine_id)
            ],
            "unmet": [
                {
                    "what": one.need.what,
                    "count": one.need.count,
                    "demand": one.need.resources.to_floats(),
                    "reason": one.reason,
                    "never": one.never,
                }
                for one in self.unmet
            ],
            "events": [{"ago": now - when, "text": text} for when, text in self.events],
        }

    def validate(self) -> None:
        """Raise AssertionError if it contradicts itself."""
        for machine_id, tracked in self.machines.items():
            assert machine_id == tracked.machine_id
            assert tracked.state in STATES
            assert tracked.idle_since is None or tracked.node_id
        for flight in self.flights.values():
            assert flight.count > 0
            assert flight.node_type in self.spec.types
        for state in self.types.values():
            assert (state.failures > 0) == bool(state.error)


def what_types_offer(types: Sequence[NodeType]) -> list[dict[str, Any]]:
    """Return node types as plain data, for people."""
    return [
        {"name": one.name, "resources": one.resources.to_floats(), "labels": labels_of(one)} for one in types
    ]
