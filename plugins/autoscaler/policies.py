"""Policies: how much to have ready, and how long to keep it. Waiting and cost are two ends of one rope."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError, describe
from shoal.interfaces.nodes import NodeType
from shoal.interfaces.scaling import Need, ScalingPolicy, ScalingView
from shoal.spec.resources import UNIT, ResourceSet, together


def _read(
    name: str, options: Mapping[str, Any] | None, known: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """Return the options of a policy; `known` has the default and the least value of each."""
    given = dict(options or {})
    if unknown := sorted(given.keys() - known.keys()):
        listed = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"the scaling policy {name!r} has no option {unknown}; it has {listed}")
    found = {}
    for option, (default, least) in known.items():
        value = given.get(option, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
            raise ConfigError(
                f"{option} of the scaling policy {name!r} must be a number ≥ {least:g}, got {describe(value)}"
            )
        found[option] = float(value)
    return found


class DemandPolicy(ScalingPolicy):
    """What waits gets machines at once, and what is idle ends after the time that the settings say. No options."""

    name: ClassVar[str] = "demand"
    __slots__ = ()

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        _read(self.name, options, {})

    def needs(self, view: ScalingView) -> Sequence[Need]:
        return view.needs

    def idle_seconds(self, node_type: NodeType, seconds: float) -> float:
        return seconds


class PatientPolicy(ScalingPolicy):
    """Cheap: launches for what has waited a while, since much of it finds room by itself, and ends machines sooner.

    Options: `wait_seconds` (120): how long something waits before a machine is launched for it; `idle_share` (0.5): of
    the idle time that the settings say.
    """

    name: ClassVar[str] = "patient"
    __slots__ = ("_share", "_wait")

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        found = _read(self.name, options, {"wait_seconds": (120.0, 0.0), "idle_share": (0.5, 0.0)})
        self._wait, self._share = found["wait_seconds"], found["idle_share"]

    def needs(self, view: ScalingView) -> Sequence[Need]:
        return [need for need in view.needs if need.waited >= self._wait]

    def idle_seconds(self, node_type: NodeType, seconds: float) -> float:
        return seconds * self._share


class HeadroomPolicy(ScalingPolicy):
    """Quick: keeps CPUs free for what may come, so that it need not wait for a machine to start.

    Options: `share` (0.25): the CPUs to have free, of those that are in use; `least` (0): CPUs to have free always.
    """

    name: ClassVar[str] = "headroom"
    __slots__ = ("_least", "_share")

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        found = _read(self.name, options, {"share": (0.25, 0.0), "least": (0.0, 0.0)})
        self._share, self._least = found["share"], found["least"]

    def needs(self, view: ScalingView) -> Sequence[Need]:
        total = together(node.total.units for node in view.nodes if not node.draining)
        free = together(node.available.clipped().units for node in view.nodes if not node.draining)
        used = (total.get("CPU", 0) - free.get("CPU", 0)) / UNIT
        used += sum(need.resources.units.get("CPU", 0) / UNIT * need.count for need in view.needs)
        wanted = math.ceil(max(self._least, used * self._share))
        if not wanted:
            return view.needs
        # One CPU each, so that they fill what is free anywhere before a machine is launched for them.
        extra = Need(resources=ResourceSet.of(CPU=1), count=wanted, what="headroom", waited=math.inf)
        return [*view.needs, extra]

    def idle_seconds(self, node_type: NodeType, seconds: float) -> float:
        return seconds


def aged(needs: Sequence[Need], since: dict[tuple[Any, ...], float], now: float) -> list[Need]:
    """Return needs with the time that each kind has waited without a break; `since` remembers it between calls."""
    found = []
    seen = set()
    for need in needs:
        key = (need.resources, tuple(sorted(need.selector.items())), need.group, need.apart)
        seen.add(key)
        found.append(attrs.evolve(need, waited=now - since.setdefault(key, now)))
    for key in since.keys() - seen:
        del since[key]
    return found
