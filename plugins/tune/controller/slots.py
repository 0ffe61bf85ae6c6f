"""Processes that run trials: made with a trial's resources, used again where that is the same."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import attrs

import shoal
from shoal.errors import ShoalError
from shoal.tune.experiment.trial import Trial
from shoal.tune.resources import PlacementGroupFactory, fits
from shoal.tune.session import Reply, Run
from shoal.tune.worker import Task, TrialWorker

_LOOK_SECONDS = 1.0  # between two looks at what the nodes have
_CLOSE_SECONDS = 10.0
_PRELOAD = ("shoal.tune.worker", "pyarrow.fs")  # what each process needs, whatever it runs
_MOST_FREE = 64  # processes of trials that need no resources


@attrs.define(eq=False)
class Slot:
    """One process."""

    actor: Any
    resources: PlacementGroupFactory
    placement: Any = None
    trials: dict[str, Trial] = attrs.field(factory=dict)
    orders: list[Run | Reply] = attrs.field(factory=list)
    ref: Any = None
    sent: float = 0.0


class Slots:
    """All processes of an experiment."""

    def __init__(self, task: Task, limit: int | None, environment: Mapping[str, Any] | None) -> None:
        self._task = shoal.put(task)
        self._limit = limit
        extra = dict(environment or {})
        extra["preload"] = [*extra.get("preload", []), *_PRELOAD]
        self._environment = extra
        self._busy: list[Slot] = []
        self._free: list[Slot] = []
        self._nodes: list[Mapping[str, Any]] = []
        self._looked = -_LOOK_SECONDS
        self._total: dict[str, float] = {}

    def all(self) -> list[Slot]:
        """Return the processes that run trials."""
        return self._busy

    def has_room(self) -> bool:
        """Return whether another trial could have a process, as far as is known before its resources are."""
        if self._limit and len(self._busy) >= self._limit:
            return False
        if not self._busy:
            return True
        return self._fits(self._busy[-1].resources)

    def nodes_have(self) -> dict[str, float]:
        """Return what the nodes have in all, as of a second ago."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._nodes, self._looked = list(shoal.nodes()), now
            self._total = {}
            for node in self._nodes:
                if node["Alive"] and not node.get("Draining"):
                    for name, amount in node["Resources"].items():
                        self._total[name] = self._total.get(name, 0.0) + amount
        return self._total

    def _fits(self, resources: PlacementGroupFactory) -> bool:
        need = resources.required_resources
        total = self.nodes_have()
        if not need:
            return len(self._busy) < _MOST_FREE
        held: dict[str, float] = dict(need)
        for slot in self._busy:
            for name, amount in slot.resources.required_resources.items():
                held[name] = held.get(name, 0.0) + amount
        alone = all(slot.resources == resources for slot in self._busy) and len(resources.bundles) == 1
        if alone:
            return len(self._busy) < fits(need, self._nodes)
        return all(total.get(name, 0.0) + 1e-6 >= held[name] for name in need)

    def take(self, resources: PlacementGroupFactory, fresh: bool = False) -> Slot | None:
        """Return a process for a trial, None if there is no room for it beside those that run."""
        if self._busy and not self._fits(resources):
            return None
        if not fresh:
            for slot in self._free:
                if slot.resources == resources:
                    self._free.remove(slot)
                    self._busy.append(slot)
                    return slot
        while self._free:  # others would be in the new one's place
            self._end(self._free.pop())
        slot = self._start(resources)
        self._busy.append(slot)
        return slot

    def _start(self, resources: PlacementGroupFactory) -> Slot:
        placement = None
        head = resources.head
        options: dict[str, Any] = {"max_restarts": 0, "max_concurrency": 1, "runtime_env": self._environment}
        if resources.reserves and len(resources.bundles) > 1:
            placement = resources.to_placement_group()
            options |= {
                "placement_group": placement,
                "placement_group_bundle_index": -1 if resources.head_bundle_is_empty else 0,
                "placement_group_capture_child_tasks": True,
            }
        rest = dict(head)
        options["num_cpus"] = rest.pop("CPU", 0.0)
        options["num_gpus"] = rest.pop("GPU", 0.0)
        if "memory" in rest:
            options["memory"] = int(rest.pop("memory"))
        if rest:
            options["resources"] = rest
        actor = shoal.remote(TrialWorker).options(**options).remote(self._task)
        return Slot(actor, resources, placement)

    def give_back(self, slot: Slot, again: bool) -> None:
        """A process has no trial any more; with `again` another may have it."""
        if slot not in self._busy:
            return  # it was ended meanwhile
        self._busy.remove(slot)
        if again:
            self._free.append(slot)
        else:
            self._end(slot)

    def drop(self, slot: Slot) -> None:
        """End a process."""
        if slot in self._busy:
            self._busy.remove(slot)
        slot.ref = None
        self._end(slot)

    def end(self, graceful: bool) -> None:
        """End all processes; with `graceful` those without a trial give back what trainables hold."""
        if graceful and self._free:
            closing = [slot.actor.close.remote() for slot in self._free]
            shoal.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        for slot in [*self._busy, *self._free]:
            slot.ref = None
            self._end(slot)
        self._busy.clear()
        self._free.clear()

    @staticmethod
    def _end(slot: Slot) -> None:
        with contextlib.suppress(ShoalError):
            shoal.kill(slot.actor)
        if slot.placement is not None:
            with contextlib.suppress(ShoalError):
                shoal.remove_placement_group(slot.placement)
