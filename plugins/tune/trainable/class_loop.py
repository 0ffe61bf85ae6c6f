"""Steps a Trainable through a trial: reports, checkpoints, and use of one object for several trials."""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import TYPE_CHECKING, Any

from shoal.train.checkpoint import Checkpoint
from shoal.tune.errors import TrialStopped
from shoal.tune.result import SHOULD_CHECKPOINT

if TYPE_CHECKING:
    from shoal.tune.session import Session
    from shoal.tune.trainable.trainable import Trainable
    from shoal.tune.worker import Task

__all__ = ["ClassLoop", "read_checkpoint", "write_checkpoint"]

_DATA = "trainable.pkl"
_STATE = ".trainable_state.pkl"


def write_checkpoint(trainable: Trainable, folder: str) -> None:
    """Write a trainable's checkpoint to a folder."""
    import cloudpickle

    data: Any = trainable.save_checkpoint(folder)
    if isinstance(data, str) and os.path.abspath(data) == os.path.abspath(folder):
        data = None
    if data is not None:
        with open(os.path.join(folder, _DATA), "wb") as file:
            cloudpickle.dump(data, file)
    with open(os.path.join(folder, _STATE), "wb") as file:
        pickle.dump(trainable.get_state(), file)


def read_checkpoint(trainable: Trainable, folder: str) -> None:
    """Have a trainable go on from a folder that `write_checkpoint` wrote; it is unpickled."""
    data = os.path.join(folder, _DATA)
    found: Any = folder
    if os.path.exists(data):
        with open(data, "rb") as file:
            found = pickle.load(file)
    trainable.load_checkpoint(found)
    state = os.path.join(folder, _STATE)
    if os.path.exists(state):
        with open(state, "rb") as file:
            said = pickle.load(file)
        trainable._iteration = said["iteration"]
        trainable._time_total = said["time_total"]
    trainable._since_restore = 0
    trainable._time_since_restore = 0.0


class ClassLoop:
    """The Trainable of one process, through the trials that run there."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._trainable: Trainable | None = None

    def run(self, session: Session) -> None:
        """Run a trial to its end, or until it is told to leave."""
        trainable = self._ready(session)
        session.saves = True
        order = session.order
        frequency = self._task.checkpoint_frequency
        try:
            while True:
                result = trainable.train()
                done = bool(result.get("done"))
                own = {name: value for name, value in result.items() if name not in _FILLED}
                if "training_iteration" in result:
                    own["training_iteration"] = result["training_iteration"]
                if done:
                    own["done"] = True
                due = bool(frequency) and trainable.iteration % frequency == 0
                due = due or bool(result.get(SHOULD_CHECKPOINT))
                checkpoint = self._save(trainable) if due or (done and self._task.checkpoint_at_end) else None
                try:
                    reply = session.report(own, checkpoint and checkpoint[0])
                except TrialStopped as stopped:
                    if stopped.decision == "STOP":
                        self._export(trainable, session)
                    raise
                finally:
                    if checkpoint:
                        checkpoint[1].cleanup()
                if done or (reply is not None and reply.decision == "STOP"):
                    self._export(trainable, session)
                if reply is not None and reply.save:
                    self._save_now(trainable, session)
                if done or (reply is not None and reply.decision in ("STOP", "PAUSE")):
                    raise TrialStopped(order.trial_id)
        finally:
            if not self._task.reuse:
                self.close()

    def close(self) -> None:
        """End the object."""
        if self._trainable is not None:
            trainable, self._trainable = self._trainable, None
            trainable.stop()

    def _ready(self, session: Session) -> Trainable:
        order = session.order
        config = dict(order.config)
        if self._trainable is not None and not self._trainable.reset(config, self._task.storage):
            self.close()
        if self._trainable is None:
            self._trainable = self._task.trainable(config, self._task.storage)
        trainable: Trainable = self._trainable
        trainable.belong_to(
            order.trial_id,
            f"{self._task.name}_{order.trial_id}",
            order.experiment,
            order.resources,
            self._task.storage.at(order.dirname),
        )
        checkpoint = session.checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                read_checkpoint(trainable, folder)
            trainable._iteration = order.iteration or trainable._iteration
        return trainable

    def _export(self, trainable: Trainable, session: Session) -> None:
        """Have a class that has ended export its model to the trial's folder."""
        if not self._task.export_formats:
            return
        with tempfile.TemporaryDirectory(prefix="export_") as folder:
            trainable.export_model(list(self._task.export_formats), folder)
            session.storage.upload(folder, f"{session.order.dirname}/export")

    @staticmethod
    def _save(trainable: Trainable) -> tuple[Checkpoint, tempfile.TemporaryDirectory[str]]:
        folder = tempfile.TemporaryDirectory(prefix="checkpoint_")
        write_checkpoint(trainable, folder.name)
        return Checkpoint.from_directory(folder.name), folder

    def _save_now(self, trainable: Trainable, session: Session) -> None:
        """Save with the last report, where the class can."""
        try:
            checkpoint, folder = self._save(trainable)
        except NotImplementedError:
            return  # it cannot be saved: paused, it begins again
        with folder:
            session.saved(checkpoint)


_FILLED = frozenset(
    {
        "trial_id",
        "training_iteration",
        "timestamp",
        "time_this_iter_s",
        "time_total_s",
        "time_since_restore",
        "iterations_since_restore",
        "done",
        "pid",
        "hostname",
    }
)
