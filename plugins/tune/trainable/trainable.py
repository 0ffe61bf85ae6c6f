"""Classes as trainables: set up, stepped, saved and restored."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from shoal.errors import describe
from shoal.train.storage import Storage

__all__ = ["Trainable"]


class Trainable:
    """What a trial runs, in steps. Override `setup`, `step`, and `save_checkpoint` with `load_checkpoint`.

    Parameters: `config` is the trial's configuration, `storage` its experiment's folder.

    Example:
        class Walk(tune.Trainable):
            def setup(self, config):
                self.x = 0.0
            def step(self):
                self.x += self.config["speed"]
                return {"x": self.x}
    """

    def __init__(self, config: dict[str, Any] | None = None, storage: Storage | None = None) -> None:
        self.config: dict[str, Any] = config or {}
        self.storage = storage
        self._trial_id = "default"
        self._trial_name = "default"
        self._trial_resources: Any = None
        self._logdir = ""
        self.experiment = ""
        self._iteration = 0
        self._time_total = 0.0
        self._since_restore = 0
        self._time_since_restore = 0.0
        self._began = time.time()
        self.setup(dict(self.config))

    # To override

    def setup(self, config: dict[str, Any]) -> None:
        """Make what the trial needs."""

    def step(self) -> dict[str, Any]:
        """Do one step; return metrics. With "done": True the trial has ended."""
        raise NotImplementedError(f"{type(self).__name__} has no method step")

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        """Write what `load_checkpoint` needs to a folder, or return it as a mapping that can be pickled."""
        raise NotImplementedError(f"{type(self).__name__} has no method save_checkpoint")

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Go on from what `save_checkpoint` returned, or from the folder's path if that was None."""
        raise NotImplementedError(f"{type(self).__name__} has no method load_checkpoint")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial, without a new object; return whether that is possible."""
        return False

    def cleanup(self) -> None:
        """Give back what the trial held."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        """Return a PlacementGroupFactory for a trial of that configuration, None for one CPU."""
        return None

    @classmethod
    def prepare_space(cls, space: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a space of configurations as trials are to get it. Called once, in the program that begins them."""
        return space

    # What runs it

    @property
    def training_iteration(self) -> int:
        """How many steps were done."""
        return self._iteration

    @property
    def iteration(self) -> int:
        """How many steps were done."""
        return self._iteration

    @property
    def trial_id(self) -> str:
        """The trial's identifier."""
        return self._trial_id

    @property
    def trial_name(self) -> str:
        """The trial's name: its trainable's and its identifier."""
        return self._trial_name

    @property
    def trial_resources(self) -> Any:
        """What the trial was given, as a PlacementGroupFactory; None outside of a trial."""
        return self._trial_resources

    @property
    def logdir(self) -> str:
        """The path of the trial's folder; outside of a trial the folder that the process is in."""
        return self._logdir or os.getcwd()

    @classmethod
    def resource_help(cls, config: dict[str, Any]) -> str:
        """Return what to do if there are not the resources that a trial of that configuration needs: override it."""
        return ""

    def belong_to(self, trial_id: str, trial_name: str, experiment: str, resources: Any, logdir: str) -> None:
        """Be a trial's, as whoever runs it says."""
        self._trial_id, self._trial_name, self.experiment = trial_id, trial_name, experiment
        self._trial_resources, self._logdir = resources, logdir

    def get_config(self) -> dict[str, Any]:
        """Return the configuration."""
        return self.config

    def get_current_ip_pid(self) -> tuple[str, int]:
        """Return the address and the process of this."""
        return "127.0.0.1", os.getpid()

    def is_actor(self) -> bool:
        """Return whether a trial runs this."""
        from shoal.tune.session import try_session

        return try_session() is not None

    def train(self) -> dict[str, Any]:
        """Do one step; return its metrics with what every report has. Raises TypeError if a step returns no mapping."""
        began = time.perf_counter()
        result = self.step()
        if not isinstance(result, Mapping):
            raise TypeError(f"{type(self).__name__}.step() must return metrics, not {describe(result)}")
        spent = time.perf_counter() - began
        self._iteration += 1
        self._since_restore += 1
        self._time_total += spent
        self._time_since_restore += spent
        filled = {**self.get_auto_filled_metrics(time_this_iter=spent), **result}
        self.log_result(filled)
        return filled

    def train_buffered(self, buffer_time_s: float, max_buffer_length: int = 1000) -> list[dict[str, Any]]:
        """Do steps for so many seconds; return the metrics of each."""
        results: list[dict[str, Any]] = []
        began = time.monotonic()
        while not results or (time.monotonic() - began < buffer_time_s and len(results) < max_buffer_length):
            results.append(self.train())
            if results[-1].get("done"):
                break
        return results

    def get_auto_filled_metrics(
        self,
        now: Any = None,
        time_this_iter: float | None = None,
        timestamp: int | None = None,
        debug_metrics_only: bool = False,
    ) -> dict[str, Any]:
        """Return what every report has beside the trial's own metrics."""
        found: dict[str, Any] = {"trial_id": self._trial_id}
        if not debug_metrics_only:
            found |= {
                "training_iteration": self._iteration,
                "timestamp": timestamp or int(now.timestamp() if now is not None else time.time()),
                "time_this_iter_s": time_this_iter or 0.0,
                "time_total_s": self._time_total,
                "time_since_restore": self._time_since_restore,
                "iterations_since_restore": self._since_restore,
                "done": False,
            }
        return {**found, "pid": os.getpid(), "hostname": socket.gethostname()}

    def log_result(self, result: dict[str, Any]) -> None:
        """See each step's metrics."""

    def get_state(self) -> dict[str, Any]:
        """Return how far it is."""
        return {
            "iteration": self._iteration,
            "time_total": self._time_total,
            "trial_id": self._trial_id,
        }

    def save(self, checkpoint_dir: str | None = None) -> str:
        """Save a checkpoint to a folder, a new temporary one by default; return its path."""
        from shoal.tune.trainable.class_loop import write_checkpoint

        folder = tempfile.mkdtemp(prefix="checkpoint_") if checkpoint_dir is None else checkpoint_dir
        os.makedirs(folder, exist_ok=True)
        write_checkpoint(self, folder)
        return folder

    def restore(self, checkpoint_path: str) -> None:
        """Go on from a folder that `save` wrote. It is unpickled: use your own only."""
        from shoal.tune.trainable.class_loop import read_checkpoint

        read_checkpoint(self, str(checkpoint_path))

    def reset(self, new_config: dict[str, Any], storage: Storage | None = None) -> bool:
        """Become another trial if `reset_config` can; return whether it did."""
        if not self.reset_config(dict(new_config)):
            return False
        self.config = new_config
        self.storage = storage or self.storage
        self._iteration = self._since_restore = 0
        self._time_total = self._time_since_restore = 0.0
        return True

    def export_model(self, export_formats: list[str] | str, export_dir: str | None = None) -> dict[str, Any]:
        """Export the model in the formats that `_export_model` knows."""
        formats = [export_formats] if isinstance(export_formats, str) else list(export_formats)
        return self._export_model(formats, export_dir or os.getcwd())

    def _export_model(self, export_formats: list[str], export_dir: str) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        """End it: `cleanup` runs."""
        self.cleanup()
