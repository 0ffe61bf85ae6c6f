"""What goes wrong in a simulated cluster, and when: written down, or drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from shoal.errors import ConfigError, describe

KINDS = ("kill_node", "kill_worker", "kill_head", "partition", "slow")


@attrs.frozen(kw_only=True)
class Fault:
    """One fault. `node` is the number of a node, None where the head alone is meant.

    kill_node: the machine dies and comes back, empty, after `seconds` (0: never). kill_worker: one worker there dies.
    kill_head: the head dies and is started again after `seconds`. partition: the node is cut off from everyone for
    `seconds`. slow: everything from and to it takes `factor` times as long for `seconds`.
    """

    kind: str
    at: float  # seconds of virtual time
    node: int | None = None
    seconds: float = 0.0
    factor: float = 20.0


def parse_faults(given: Any, nodes: int) -> tuple[Fault, ...]:
    """Return faults from plain mappings, as in `{"kind": "kill_node", "node": 1, "at": 2.5}`.

    Raises ConfigError for an unknown kind or key, for a node that there is not, and for a time that is no number ≥ 0.
    """
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise ConfigError(f"faults must be a list of mappings, got {describe(given)}")
    return tuple(_parse(number, each, nodes) for number, each in enumerate(given))


def _parse(number: int, given: Any, nodes: int) -> Fault:
    where = f"fault {number}"
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} must be a mapping with kind, at and node, got {describe(given)}")
    known = {field.name for field in attrs.fields(Fault)}
    unknown = sorted(given.keys() - known)
    if unknown:
        raise ConfigError(f"{where} has no {unknown}; it has {sorted(known)}")
    kind = given.get("kind")
    if kind not in KINDS:
        raise ConfigError(f"the kind of {where} must be one of {', '.join(KINDS)}, got {describe(kind)}")
    for name in ("at", "seconds", "factor"):
        value = given.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            raise ConfigError(f"{name} of {where} must be a number ≥ 0, got {describe(value)}")
    if "at" not in given:
        raise ConfigError(f"{where} says not when: give at=, in seconds")
    node = given.get("node")
    if kind == "kill_head":
        if node is not None:
            raise ConfigError(f"{where} kills the head; leave node out")
    elif isinstance(node, bool) or not isinstance(node, int) or not 0 <= node < nodes:
        raise ConfigError(
            f"node of {where} must be a whole number from 0 to {nodes - 1}, got {describe(node)}"
        )
    return Fault(**given)


def random_faults(chance: random.Random, nodes: int, horizon: float, count: int) -> tuple[Fault, ...]:
    """Draw faults of all kinds within the first `horizon` seconds."""
    faults = []
    for _ in range(count):
        kind = chance.choice(("kill_node", "kill_worker", "kill_worker", "kill_head", "partition", "slow"))
        faults.append(
            Fault(
                kind=kind,
                at=round(chance.uniform(0, horizon), 3),
                node=None if kind == "kill_head" else chance.randrange(nodes),
                seconds=round(chance.uniform(0.5, 12), 3),
                factor=float(chance.choice((5, 50))),
            )
        )
    return tuple(sorted(faults, key=lambda fault: fault.at))
