"""What the state machine asks the shell to do: values, without references to operators or to the session."""

from __future__ import annotations

import enum
from typing import Any

import attrs

from shoal.data.execution.bundle import Bundle


class Stage(enum.Enum):
    """What a task is for."""

    MAP = "map"  # the operator's chain of transforms, over blocks that come one after another
    GATHER = "gather"  # slices of blocks, put together
    ZIP = "zip"  # a block and slices of others, side by side
    SAMPLE = "sample"
    PLAN = "plan"
    SPLIT = "split"
    REDUCE = "reduce"


@attrs.frozen(eq=False)
class Work:
    """One task. `bundles` are its blocks, `argument` what else the stage needs, `index` its number in the operator.

    `parts` is how many blocks come out of a task that splits; a task with `parts` 0 streams its blocks.
    """

    task: int
    operator: int
    stage: Stage
    bundles: tuple[Bundle, ...]
    index: int
    argument: Any = None
    parts: int = 0
    actor: int | None = None


@attrs.frozen(eq=False)
class Start:
    """Submit a task."""

    work: Work


@attrs.frozen
class Pull:
    """Ask a running task for its next block."""

    task: int


@attrs.frozen
class Cancel:
    """Stop a task; nothing that it makes is wanted any more."""

    task: int


@attrs.frozen
class StartActor:
    """Start one more actor of an operator."""

    operator: int
    actor: int


@attrs.frozen
class StopActor:
    """End an actor, which has nothing to do."""

    operator: int
    actor: int


Action = Start | Pull | Cancel | StartActor | StopActor
