"""What the controller is told, and what it wants done. Frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from shoal.train.controller.kept import Kept
from shoal.tune.experiment.trial import Trial

# Events


@attrs.frozen
class Reported:
    """A trial has reported. `waits`: it goes on when it is answered. `checkpoint` is the name of one, in its folder;
    `path` where it is if not there.
    """

    trial_id: str
    metrics: Mapping[str, Any]
    now: float  # seconds since 1970, at the worker
    spent: float = 0.0  # seconds since its last report
    checkpoint: str | None = None
    path: str | None = None
    waits: bool = True
    pid: int = 0
    hostname: str = ""


@attrs.frozen
class Saved:
    """A trial has saved a checkpoint that it was told to save, with its last report."""

    trial_id: str
    checkpoint: str


@attrs.frozen
class Left:
    """A trial has left its process: by itself, or since it was told to stop or pause."""

    trial_id: str


@attrs.frozen
class Failed:
    """A trial raised an error, or its process died alone with it."""

    trial_id: str
    error: BaseException
    text: str


@attrs.frozen
class Lost:
    """A process died that several trials shared; which of them it was is not known."""

    trial_ids: Sequence[str]
    text: str


@attrs.frozen
class Tick:
    """Time goes by."""

    now: float


@attrs.frozen
class Halt:
    """The experiment is to end: whoever leads it was interrupted, or cannot go on."""

    why: str
    error: BaseException | None = None


Event: TypeAlias = Reported | Saved | Left | Failed | Lost | Tick | Halt


# Actions


@attrs.frozen
class Answer:
    """Tell a waiting trial whether it goes on: CONTINUE, PAUSE or STOP; `save`: with a checkpoint, if it can."""

    trial: Trial
    decision: str
    save: bool = False


@attrs.frozen
class Kill:
    """End a trial that does not wait for an answer."""

    trial: Trial


@attrs.frozen
class Record:
    """Write a report down."""

    trial: Trial
    result: Mapping[str, Any]
    checkpoint: Kept | None = None


@attrs.frozen
class Changed:
    """Write down what a trial is now."""

    trial: Trial


@attrs.frozen
class Discard:
    """Delete a checkpoint."""

    trial: Trial
    kept: Kept


@attrs.frozen
class Tell:
    """Call a method of the callbacks."""

    method: str
    trial: Trial
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Say:
    """Say something to the user."""

    text: str


@attrs.frozen
class Over:
    """The experiment is over; nothing of it is to run any more."""

    error: BaseException | None = None


Action: TypeAlias = Answer | Kill | Record | Changed | Discard | Tell | Say | Over
