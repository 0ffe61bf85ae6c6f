"""The placement groups of one driver of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from shoal.ids import NodeID, PlacementGroupID
from shoal.sim.cluster.daemon import node_name
from shoal.sim.cluster.work import GroupWork
from shoal.spec.resources import ResourceSet
from shoal.spec.view import BundleSpec, GroupSpec

if TYPE_CHECKING:
    from shoal.sim.cluster.driver import Driver

PATIENCE = 120.0  # seconds after which a group that cannot be had is given up


@attrs.define(eq=False)
class Owned:
    """One group as its owner sees it. PENDING ⇄ CREATED → REMOVING → GONE."""

    work: GroupWork
    group_id: bytes
    state: str = "PENDING"
    asked: bool = False
    nodes: tuple[NodeID, ...] = ()
    open_tasks: int = 0


class OwnedGroups:
    """Creates groups, says where their tasks may go, and removes each once its tasks have ended."""

    def __init__(self, driver: Driver, works: tuple[GroupWork, ...]) -> None:
        self._driver = driver
        self._groups: dict[str, Owned] = {}
        for number, work in enumerate(works):
            self._groups[work.name] = Owned(work, driver.client + b"g" + number.to_bytes(7, "big"))
        for task in driver.tasks.values():
            if task.work.group:
                self._groups[task.work.group].open_tasks += 1

    def begin(self) -> None:
        """Ask for each when its time has come."""
        for owned in self._groups.values():
            self._driver.after(owned.work.create_at, self._create, owned)
            self._driver.after(owned.work.create_at + PATIENCE, self._give_up, owned)

    def finished(self) -> bool:
        """Tell whether all are gone."""
        return all(owned.state == "GONE" for owned in self._groups.values())

    def unfinished(self) -> list[str]:
        """Say which are not gone."""
        return [f"{name} {owned.state}" for name, owned in self._groups.items() if owned.state != "GONE"]

    def _create(self, owned: Owned) -> None:
        owned.asked = True
        self._say(owned)

    def _give_up(self, owned: Owned) -> None:
        if owned.state == "PENDING":
            self._remove(owned)

    def say_all(self) -> None:
        """The head is there (again): tell it everything that it may not know."""
        for owned in self._groups.values():
            if owned.asked:
                self._say(owned)

    def _say(self, owned: Owned) -> None:
        head = self._driver.head
        if head is None or owned.state == "GONE":
            return
        if owned.state == "REMOVING":
            head.send(("remove_group", owned.group_id))
            return
        bundles = tuple(
            BundleSpec(index=index, resources=ResourceSet.of(CPU=cpus))
            for index, cpus in enumerate(owned.work.bundles)
        )
        spec = GroupSpec(
            group_id=PlacementGroupID(owned.group_id), bundles=bundles, strategy=owned.work.strategy
        )
        head.send(("create_group", self._driver.client, spec))

    def state_of(self, name: str) -> str:
        """Return the state in which a task of the group finds it; GONE also while it is being removed."""
        state = self._groups[name].state
        return "GONE" if state == "REMOVING" else state

    def id_of(self, name: str) -> bytes:
        """Return the identifier of a group."""
        return self._groups[name].group_id

    def node_for(self, name: str, turn: int) -> str:
        """Return one of the nodes that have a bundle of the group."""
        nodes = self._groups[name].nodes
        return node_name(nodes[turn % len(nodes)])

    def created(self, group_id: bytes, nodes: tuple[NodeID, ...]) -> None:
        """The head has reserved every bundle."""
        owned = self._find(group_id)
        if owned.state not in ("PENDING", "CREATED"):
            return
        owned.state, owned.nodes = "CREATED", nodes
        self._wake(owned)
        if not owned.open_tasks:
            self._remove(owned)

    def broken(self, group_id: bytes) -> None:
        """A node with a bundle died: the group is whole again when `created` says so."""
        owned = self._find(group_id)
        if owned.state == "CREATED":
            owned.state = "PENDING"
            self._driver.after(PATIENCE, self._give_up, owned)

    def gone(self, group_id: bytes) -> None:
        """A group is removed."""
        owned = self._find(group_id)
        if owned.state != "GONE":
            owned.state = "GONE"
            self._wake(owned)

    def task_ended(self, name: str) -> None:
        """A task of the group has ended."""
        owned = self._groups[name]
        owned.open_tasks -= 1
        if owned.open_tasks <= 0 and owned.state == "CREATED":
            self._remove(owned)

    def _remove(self, owned: Owned) -> None:
        owned.state = "REMOVING"
        self._say(owned)
        self._wake(owned)

    def _wake(self, owned: Owned) -> None:
        for task in self._driver.tasks.values():
            if task.work.group == owned.work.name:
                self._driver.advance(task)

    def _find(self, group_id: bytes) -> Owned:
        return next(owned for owned in self._groups.values() if owned.group_id == group_id)
