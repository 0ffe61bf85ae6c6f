"""Gangs: replicas that are placed, started and replaced together, such as the parts of one large model."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks


class GangPlacementStrategy(str, enum.Enum):
    """Whether a gang's members share as few nodes as can be, or as many."""

    PACK = "PACK"
    SPREAD = "SPREAD"


class GangRuntimeFailurePolicy(str, enum.Enum):
    """What a member's death means: the whole gang starts anew, or only that member."""

    RESTART_GANG = "RESTART_GANG"
    RESTART_REPLICA = "RESTART_REPLICA"


def _choice(kind: type[enum.Enum], value: Any) -> Any:
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(repr(each.value) for each in kind)
        raise ConfigError(f"it must be one of {names}, not {describe(value)}") from None


def _strategy(value: Any) -> GangPlacementStrategy:
    found: GangPlacementStrategy = _choice(GangPlacementStrategy, value)
    return found


def _policy(value: Any) -> GangRuntimeFailurePolicy:
    found: GangRuntimeFailurePolicy = _choice(GangRuntimeFailurePolicy, value)
    return found


@attrs.frozen(kw_only=True)
class GangSchedulingConfig:
    """Replicas come in gangs of `gang_size`: a gang has its room as a whole, or none of it.

    `num_replicas` must be a multiple of it; autoscaling rounds up to one. Raises ConfigError.
    """

    gang_size: int = attrs.field(validator=checks.whole(1))
    gang_placement_strategy: GangPlacementStrategy = attrs.field(
        default=GangPlacementStrategy.PACK, converter=_strategy
    )
    runtime_failure_policy: GangRuntimeFailurePolicy = attrs.field(
        default=GangRuntimeFailurePolicy.RESTART_GANG, converter=_policy
    )


def gang_config(value: Any) -> GangSchedulingConfig | None:
    """Return a configuration of what was given: one, a mapping of its fields, or None. Raises ConfigError."""
    if value is None or isinstance(value, GangSchedulingConfig):
        return value
    given = checks.mapping(value, "gang_scheduling_config")
    known = {field.name for field in attrs.fields(GangSchedulingConfig)}
    if unknown := sorted(given.keys() - known):
        raise ConfigError(
            f"gang_scheduling_config has no {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    return GangSchedulingConfig(**given)


@attrs.frozen
class GangContext:
    """A replica's place in its gang, as of its start: `get_replica_context().gang_context`.

    `member_replica_ids` are in the order of ranks; `pg_name` is the name of the gang's placement group.
    """

    gang_id: str
    rank: int
    world_size: int
    member_replica_ids: Sequence[str] = ()
    pg_name: str = ""
