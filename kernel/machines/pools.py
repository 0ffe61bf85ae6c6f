"""A bag of resources with its devices: what a node has, or what is reserved of it as one bundle."""

from __future__ import annotations

from collections.abc import Mapping

from shoal.machines.devices import DevicePool
from shoal.spec.resources import ResourceSet


class Pool:
    """A bag of resources with its devices."""

    __slots__ = ("available", "devices", "total")

    def __init__(self, total: ResourceSet, devices: Mapping[str, list[str]]) -> None:
        self.total = total
        self.available = total
        self.devices = {resource: DevicePool(ids) for resource, ids in devices.items()}

    def take(self, resources: ResourceSet) -> dict[str, dict[str, int]] | None:
        """Take resources and devices; None, with nothing taken, if the devices cannot be had."""
        taken: dict[str, dict[str, int]] = {}
        for resource, pool in self.devices.items():
            units = resources.units.get(resource, 0)
            if not units:
                continue
            some = pool.take(units)
            if some is None:
                for earlier, ids in taken.items():
                    self.devices[earlier].give_back(ids)
                return None
            taken[resource] = some
        self.available = self.available - resources
        return taken

    def give_back(self, resources: ResourceSet, devices: Mapping[str, Mapping[str, int]]) -> None:
        """Undo `take`."""
        self.available = self.available + resources
        for resource, ids in devices.items():
            self.devices[resource].give_back(ids)
