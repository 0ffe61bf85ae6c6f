"""What the controller is told, and what it wants done. Frozen values; ranks count from 0, indices of reports too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from shoal.train.controller.kept import Kept
from shoal.train.errors import PreemptionInfo

if TYPE_CHECKING:
    from shoal.data.positions import ReaderProgress, SplitPosition


@attrs.frozen
class Begun:
    """All workers of the group run the training function."""

    workers: int
    now: float
    positions: Mapping[str, SplitPosition] = attrs.field(factory=dict)  # where its datasets begin


@attrs.frozen
class Reported:
    """A rank called report.

    `saves` says that it has a part of a checkpoint, which is on its way; `name` is the folder's if somebody chose one,
    `path` where it is if not in the run's folder. `validation` is what the rank asked to have done with it. `data`
    is what it was given of the datasets since its report before. `holds` says that its part goes to memory.
    """

    rank: int
    metrics: Mapping[str, Any]
    saves: bool
    now: float
    name: str | None = None
    path: str | None = None
    validation: Any = None
    data: Mapping[str, ReaderProgress] = attrs.field(factory=dict)
    holds: bool = False


@attrs.frozen
class Held:
    """A rank's part of the checkpoint of its report of that index, in this attempt, is in memory."""

    rank: int
    index: int


@attrs.frozen
class Saved:
    """A rank's part of the checkpoint of its report of that index, in this attempt, is in the storage."""

    rank: int
    index: int


@attrs.frozen
class Finished:
    """A rank's function has returned, and what it had to save is saved."""

    rank: int
    value: Any
    now: float


@attrs.frozen
class Joined:
    """A rank waits for the others: its call of that number. If it `gathers`, it gets the values of all."""

    rank: int
    number: int
    value: Any
    gathers: bool = False


@attrs.frozen
class Failed:
    """The group cannot go on. `announced` says that its nodes were to go away; `error` is what that is called."""

    failures: Mapping[int, Exception]
    message: str
    announced: bool = False
    error: Exception | None = None


@attrs.frozen
class Refused:
    """The group cannot be had, now or later."""

    error: Exception


@attrs.frozen
class Room:
    """So many workers would fit if the group began anew, those that it has included."""

    workers: int


@attrs.frozen
class Leaving:
    """Nodes that ranks are on will go away."""

    info: PreemptionInfo
    now: float


@attrs.frozen
class Stacks:
    """Where every rank is in its code, as was asked for."""

    of: Mapping[int, str]


@attrs.frozen
class Tick:
    """Time passes."""

    now: float


@attrs.frozen
class Stop:
    """The run is to end well, with what there is."""

    why: str


Event = (
    Begun
    | Reported
    | Saved
    | Held
    | Finished
    | Joined
    | Failed
    | Refused
    | Room
    | Leaving
    | Stacks
    | Tick
    | Stop
)


@attrs.frozen
class Start:
    """Start a group, of the most workers that fit within the bounds; it begins from a checkpoint."""

    attempt: int
    checkpoint: Kept | None
    first_index: int  # the number of its first report, over all attempts


@attrs.frozen
class End:
    """End the group's workers."""

    graceful: bool


@attrs.frozen
class Record:
    """All ranks have made this report. `index` counts over all attempts."""

    index: int
    metrics: Sequence[Mapping[str, Any]]
    checkpoint: str | None  # its name, if there will be one


@attrs.frozen
class Commit:
    """A checkpoint is whole, and is one from now on. `validation` is what was asked to have done with it."""

    kept: Kept
    validation: Any = None


@attrs.frozen
class Hold:
    """A checkpoint is whole in memory; those before it are not needed there any more."""

    kept: Kept


@attrs.frozen
class Discard:
    """A checkpoint is no longer to be kept."""

    kept: Kept


@attrs.frozen
class Deliver:
    """Give every rank what it waits for in its call of that number."""

    number: int
    value: Any


@attrs.frozen
class AskStacks:
    """Ask every rank where it is."""


@attrs.frozen
class Say:
    """Tell the user."""

    text: str


@attrs.frozen
class Succeed:
    """The run is over."""

    value: Any


@attrs.frozen
class Fail:
    """The run is over, without success."""

    error: Exception


Action = Start | End | Record | Commit | Hold | Discard | Deliver | AskStacks | Say | Succeed | Fail
