"""What a trial's process knows of the trial, and what the trial calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from shoal.errors import describe
from shoal.train.checkpoint import Checkpoint
from shoal.train.errors import SessionMisuseError
from shoal.train.session import begin_trial, check_metrics, portable
from shoal.train.storage import Storage
from shoal.tune.errors import TrialStopped

__all__ = ["TuneContext", "get_checkpoint", "get_context", "report"]


@attrs.frozen(kw_only=True)
class Run:
    """Run a trial."""

    trial_id: str
    config: dict[str, Any]
    dirname: str
    experiment: str
    tag: str = ""
    iteration: int = 0  # reports before
    checkpoint: str | None = None  # its path
    next_index: int = 0  # of a checkpoint
    waits: bool = True  # for an answer to each report
    seed: int | None = None
    resources: Any = None


@attrs.frozen
class Reply:
    """What a trial that waits is to do."""

    trial_id: str
    decision: str
    save: bool = False


Emit = Callable[[tuple[Any, ...], bool], None]


class Session:
    """One trial in this process. Reports go out through `emit`; `answer` waits for what follows from one."""

    def __init__(
        self, order: Run, storage: Storage, trainable: str, emit: Emit, answer: Callable[[str], Reply]
    ) -> None:
        self.order = order
        self.storage = storage
        self.trainable = trainable
        self.index = order.next_index
        self.saves = False  # whether the trial can save when it is told to; then it leaves by itself
        self._emit = emit
        self._answer = answer
        self._last = time.perf_counter()

    def report(
        self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None = None, upload: bool = True
    ) -> Reply | None:
        """Tell the experiment of metrics and a checkpoint; return the answer if there is one.

        With `upload=False` the checkpoint stays where it is. Raises TrialStopped when the trial is over.
        """
        spent = time.perf_counter() - self._last
        name = path = None
        if checkpoint is not None:
            name = f"checkpoint_{self.index:06d}"
            self.index += 1
            if upload:
                with checkpoint.as_directory() as folder:
                    self.storage.upload(folder, f"{self.order.dirname}/{name}")
            else:
                path = checkpoint.path
        order = self.order
        # With a checkpoint it is known to the experiment before the trial goes on, so that no end can lose it.
        waits = order.waits or checkpoint is not None
        self._emit(
            ("reported", order.trial_id, dict(metrics), time.time(), spent, name, path, waits),
            waits,
        )
        reply = None
        if waits:
            reply = self._answer(order.trial_id)
            if reply.decision in ("STOP", "PAUSE") and not (reply.save and self.saves):
                raise TrialStopped(f"trial {order.trial_id}: {reply.decision.lower()}", reply.decision)
        self._last = time.perf_counter()
        return reply

    def saved(self, checkpoint: Checkpoint) -> None:
        """Upload a checkpoint that belongs to the last report."""
        name = f"checkpoint_{self.index:06d}"
        self.index += 1
        with checkpoint.as_directory() as folder:
            self.storage.upload(folder, f"{self.order.dirname}/{name}")
        self._emit(("saved", self.order.trial_id, name), False)

    def checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint that the trial begins from."""
        path = self.order.checkpoint
        return None if path is None else Checkpoint(path, self.storage.filesystem)


_session: Session | None = None  # a process runs one trial at a time


def begin_session(session: Session | None) -> None:
    """Make this the process's session; what shoal.train is told here goes to it too."""
    global _session
    _session = session
    begin_trial(None if session is None else _OfTrial())


class _OfTrial:
    """This module, as shoal.train calls it."""

    def report(self, metrics: Mapping[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        report(metrics, checkpoint=checkpoint)

    def get_checkpoint(self) -> Checkpoint | None:
        return get_checkpoint()

    def get_context(self) -> TuneContext:
        return get_context()


def try_session() -> Session | None:
    """Return the trial's session, None outside of one."""
    return _session


def session_here(what: str) -> Session:
    """Return the trial's session. Raises SessionMisuseError naming what was called outside of one."""
    if _session is None:
        raise SessionMisuseError(f"{what} works in a trial, in the process that runs it; this is none")
    return _session


def report(
    metrics: Mapping[str, Any] | None = None, *, checkpoint: Checkpoint | None = None, **more: Any
) -> None:
    """Report metrics, and with them a checkpoint, to the experiment that this trial is part of.

    Parameters: `metrics` are a mapping from names to values; metrics may also be given by name, as in
    `report(loss=0.1)`. `checkpoint` is uploaded before this returns.
    Raises SessionMisuseError outside of a trial, TypeError for what is no metrics or cannot be sent; in a trial that is
    over TrialStopped, which is to be let pass.

    Example: `tune.report({"loss": 0.1}, checkpoint=tune.Checkpoint.from_directory(folder))`
    """
    session = session_here("tune.report()")
    if metrics is None and not more:
        raise TypeError("tune.report() needs metrics: tune.report({'loss': 0.1})")
    found = {**check_metrics(metrics if metrics is not None else {}), **more}
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"checkpoint must be a Checkpoint, not {describe(checkpoint)}; Checkpoint.from_directory(path) makes one"
        )
    session.report(portable(found, "what is reported"), checkpoint)


def get_checkpoint() -> Checkpoint | None:
    """Return the checkpoint that this trial goes on from, None at the beginning.

    Raises SessionMisuseError outside of a trial.
    """
    return session_here("tune.get_checkpoint()").checkpoint()


def get_context() -> TuneContext:
    """Return which trial this is. Raises SessionMisuseError outside of a trial.

    Example: `tune.get_context().get_trial_id()`
    """
    return TuneContext(session_here("tune.get_context()"))


class TuneContext:
    """Which trial this process runs."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_experiment_name(self) -> str:
        """Return the experiment's name."""
        return self._session.order.experiment

    def get_trial_name(self) -> str:
        """Return the trial's name: its trainable's and its identifier."""
        return f"{self._session.trainable}_{self._session.order.trial_id}"

    def get_trial_id(self) -> str:
        """Return the trial's identifier."""
        return self._session.order.trial_id

    def get_trial_resources(self) -> Any:
        """Return what the trial was given, as a PlacementGroupFactory."""
        return self._session.order.resources

    def get_trial_dir(self) -> str:
        """Return the path of the trial's folder."""
        return self._session.storage.at(self._session.order.dirname)

    def get_storage(self) -> Storage:
        """Return the experiment's folder."""
        return self._session.storage

    def get_metadata(self) -> dict[str, Any]:
        """Return what a trainer was told of itself; trials have nothing of that."""
        return {}

    def get_world_size(self) -> int:
        """Return 1: a trial is one process."""
        return 1

    def get_world_rank(self) -> int:
        """Return 0."""
        return 0

    def get_local_rank(self) -> int:
        """Return 0."""
        return 0

    def get_local_world_size(self) -> int:
        """Return 1."""
        return 1

    def get_node_rank(self) -> int:
        """Return 0."""
        return 0
