"""Which machines a set of needs would take: first-fit decreasing, by the scarcest resource. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from shoal.interfaces.nodes import NodeType
from shoal.interfaces.scaling import Need
from shoal.spec.labels import matches
from shoal.spec.resources import ResourceSet

# What every machine has without anybody asking for it: having some is no reason to keep others off.
_COMMON = frozenset({"CPU", "memory", "object_store_memory"})


@attrs.define(eq=False)
class Bin:
    """One machine, as far as it is free: one that is there, one on its way, or one to be launched."""

    node_type: str
    free: dict[str, int]
    labels: Mapping[str, str]
    key: str = ""  # a node, a machine; "" for one to be launched
    apart: set[str] = attrs.field(factory=set)  # groups of needs of which one is here
    used: bool = False


@attrs.frozen(kw_only=True)
class Unmet:
    """A need that no machine may be launched for, and why."""

    need: Need
    reason: str
    never: bool  # no change of the load can help: only other node types can


@attrs.frozen(kw_only=True)
class Packing:
    """What it would take."""

    launch: Mapping[str, int]  # by node type
    unmet: Sequence[Unmet]
    used: frozenset[str]  # keys of the bins that something was put into


def pack(
    needs: Sequence[Need],
    bins: Sequence[Bin],
    types: Sequence[NodeType],
    room: Mapping[str, int],
    most: int,
    blocked: frozenset[str] = frozenset(),
) -> Packing:
    """Put needs into bins, and into new machines of `types` where these do not do.

    `room` is how many more of each type may be launched, `most` of all together. `blocked` types cannot be launched
    for the moment: what could go there waits rather than take a machine with a GPU that it has no use for. Bins are
    used up.
    """
    packer = _Packer(list(bins), types, dict(room), most, blocked)
    groups: dict[str, list[Need]] = {}
    for number, need in enumerate(needs):
        groups.setdefault(need.group or f"\0{number}", []).append(need)
    order = sorted(groups.values(), key=lambda group: min(packer.rank(need) for need in group))
    unmet: list[Unmet] = []
    for index, group in enumerate(order):
        later = [need for others in order[index + 1 :] for need in others]
        unmet += packer.put(group, later)
    new = [bin_ for bin_ in packer.bins if not bin_.key]
    launch: dict[str, int] = {}
    for bin_ in new:
        launch[bin_.node_type] = launch.get(bin_.node_type, 0) + 1
    return Packing(
        launch=launch,
        unmet=unmet,
        used=frozenset(bin_.key for bin_ in packer.bins if bin_.used and bin_.key),
    )


class _Packer:
    def __init__(
        self,
        bins: list[Bin],
        types: Sequence[NodeType],
        room: dict[str, int],
        most: int,
        blocked: frozenset[str],
    ) -> None:
        self.bins = bins
        self._types = types
        self._room = room
        self._most = most
        self._blocked = [node_type for node_type in types if node_type.name in blocked]
        self._largest: dict[str, int] = {}
        self._offering: dict[str, int] = {}
        for node_type in types:
            for name, units in node_type.resources.units.items():
                self._largest[name] = max(self._largest.get(name, 0), units)
                self._offering[name] = self._offering.get(name, 0) + 1

    def rank(self, need: Need) -> tuple[int, float]:
        """Return the place in the line: what few types offer goes first, and then what takes most of one machine."""
        units = need.resources.units
        rarity = min((self._offering.get(name, 0) for name in units), default=1 << 30)
        share = max((amount / self._largest.get(name, 1) for name, amount in units.items()), default=0.0)
        return rarity, -share

    def put(self, group: Sequence[Need], later: Sequence[Need]) -> list[Unmet]:
        """Put needs that belong together. If one of them finds no place, none has one."""
        together = bool(group[0].group)
        kept = [(dict(b.free), set(b.apart), b.used) for b in self.bins] if together else []
        room, most = dict(self._room), self._most
        unmet = []
        for need in sorted(group, key=self.rank):
            left = self._into_bins(need, need.count)
            while left:
                opened = self._open(need, left, later)
                if opened is None:
                    break
                left = self._fill(opened, need, left)
            if left:
                unmet.append(self._explain(need, left))
        if unmet and together:
            self._room, self._most = room, most
            del self.bins[len(kept) :]
            for bin_, (free, apart, used) in zip(self.bins, kept, strict=True):
                bin_.free, bin_.apart, bin_.used = free, apart, used
        return unmet

    def _into_bins(self, need: Need, count: int) -> int:
        asked = need.resources.units
        fitting = [bin_ for bin_ in self.bins if _accepts(bin_, need) and _times(bin_.free, asked)]
        # Where least stays free, and what is not asked for (a GPU) last; one that is there before one that is to come.
        fitting.sort(
            key=lambda bin_: (_spare(bin_.free, asked), not bin_.key, _left(bin_.free, asked), bin_.key)
        )
        for bin_ in fitting:
            if not count:
                break
            count = self._fill(bin_, need, count)
        return count

    def _fill(self, bin_: Bin, need: Need, count: int) -> int:
        """Put as many as fit; return how many are left."""
        asked = need.resources.units
        times = min(count, _times(bin_.free, asked))
        if need.apart:
            times = 0 if need.apart in bin_.apart else min(times, 1)
            if times:
                bin_.apart.add(need.apart)
        for name, amount in asked.items():
            bin_.free[name] -= amount * times
        bin_.used = bin_.used or times > 0
        return count - times

    def _open(self, need: Need, count: int, later: Sequence[Need]) -> Bin | None:
        """Choose a type for a need, and add a machine of it."""
        if self._most < 1:
            return None
        asked = need.resources.units
        candidates = [
            node_type
            for node_type in self._types
            if self._room.get(node_type.name, 0) > 0 and _could(node_type, need)
        ]
        if not candidates:
            return None
        rest = [need, *(other for other in later if not other.apart)]
        chosen = min(
            candidates, key=lambda t: (_spare(t.resources.units, asked), _price(t, need, count, rest), t.name)
        )
        spare = _spare(chosen.resources.units, asked)
        if any(_could(t, need) and _spare(t.resources.units, asked) < spare for t in self._blocked):
            return None
        self._room[chosen.name] -= 1
        self._most -= 1
        bin_ = new_bin(chosen)
        self.bins.append(bin_)
        return bin_

    def _explain(self, need: Need, left: int) -> Unmet:
        able = [node_type for node_type in self._types if _could(node_type, need)]
        if not able:
            return Unmet(need=attrs.evolve(need, count=left), reason=why_never(need, self._types), never=True)
        if self._most < 1 and any(self._room.get(node_type.name, 0) > 0 for node_type in able):
            reason = "the cluster may have no more machines (max_machines)"
        else:
            names = ", ".join(f"{node_type.name} (max {node_type.most})" for node_type in able)
            reason = f"there may be no more machines of the types that could: {names}"
        return Unmet(need=attrs.evolve(need, count=left), reason=reason, never=False)


def new_bin(node_type: NodeType, key: str = "") -> Bin:
    """Return an empty machine of a type."""
    return Bin(node_type.name, dict(node_type.resources.units), labels_of(node_type), key)


def labels_of(node_type: NodeType) -> dict[str, str]:
    """Return the labels that a node of a type will have."""
    from shoal.interfaces.nodes import TYPE_LABEL

    return {**node_type.labels, TYPE_LABEL: node_type.name}


def why_never(need: Need, types: Iterable[NodeType]) -> str:
    """Say why no machine of any type could take a need."""
    parts = []
    for node_type in types:
        short = node_type.resources.shortfall(need.resources)
        if short:
            parts.append(f"{node_type.name} lacks {short!r}")
        elif not matches(need.selector, labels_of(node_type)):
            wanted = ", ".join(f"{key}={text}" for key, text in sorted(need.selector.items()))
            parts.append(f"{node_type.name} has not the labels {wanted}")
    return "no node type can ever hold it: " + ("; ".join(parts) or "there are no node types")


def _could(node_type: NodeType, need: Need) -> bool:
    return node_type.resources.covers(need.resources) and matches(need.selector, labels_of(node_type))


def _accepts(bin_: Bin, need: Need) -> bool:
    if need.apart and need.apart in bin_.apart:
        return False
    return not need.selector or matches(need.selector, bin_.labels)


def _times(free: Mapping[str, int], asked: Mapping[str, int]) -> int:
    """Return how often what is asked fits; something that asks for nothing fits as often as one likes."""
    return min((max(0, free.get(name, 0)) // amount for name, amount in asked.items()), default=1 << 30)


def _spare(offered: Mapping[str, int], asked: Mapping[str, int]) -> int:
    """Return how many special resources would stand idle beside it."""
    return sum(
        1 for name, amount in offered.items() if amount > 0 and name not in asked and name not in _COMMON
    )


def _left(free: Mapping[str, int], asked: Mapping[str, int]) -> float:
    parts = [1 - amount / free[name] for name, amount in asked.items() if free.get(name)]
    return sum(parts) / len(parts) if parts else 1.0


def _price(node_type: NodeType, need: Need, count: int, rest: Sequence[Need]) -> float:
    """Return what the used part of a machine costs: its cost, divided by how full the needs that wait would make it."""
    free = dict(node_type.resources.units)
    for other in rest:
        if not _could(node_type, other):
            continue
        wanted = count if other is need else other.count
        times = min(wanted, _times(free, other.resources.units))
        if other.apart:
            times = min(times, 1)
        for name, amount in other.resources.units.items():
            free[name] -= amount * times
    total = node_type.resources.units
    shares = [1 - free[name] / total[name] for name in total if name not in ("memory", "object_store_memory")]
    full = max(shares, default=0.0)
    return (node_type.cost or 1e-6) / max(full, 1e-6)


def total_of(needs: Iterable[Need]) -> ResourceSet:
    """Return what needs ask for together."""
    total: dict[str, int] = {}
    for need in needs:
        for name, amount in need.resources.units.items():
            total[name] = total.get(name, 0) + amount * need.count
    return ResourceSet(total)
