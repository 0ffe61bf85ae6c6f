"""One trial: a configuration, and what came of it so far."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import attrs

from shoal.errors import ConfigError
from shoal.train.config import CheckpointConfig
from shoal.train.controller.kept import Kept, KeptCheckpoints
from shoal.train.storage import Storage
from shoal.tune.experiment.export_format import ExportFormat
from shoal.tune.resources import PlacementGroupFactory, resources_of

__all__ = ["FINISHED", "About", "ExportFormat", "Trial"]

FINISHED = ("TERMINATED", "ERROR")
_ERROR_FILE, _PICKLED_ERROR_FILE = "error.txt", "error.pkl"


@attrs.frozen(kw_only=True)
class About:
    """What the trials of an experiment have in common."""

    storage: Storage
    trainable: Any = None
    trainable_name: str = ""
    checkpoints: CheckpointConfig = attrs.field(factory=CheckpointConfig)
    stop: Mapping[str, Any] = attrs.field(factory=dict)  # metrics with the values that end a trial
    max_failures: int = 0
    resources: Any = None


@attrs.define(eq=False)
class Trial:
    """One trial: a configuration, and what came of it so far. Compared by identity.

    `status` is PENDING, RUNNING, PAUSED, TERMINATED or ERROR; `last_result` its last report; `kept` its checkpoints;
    `restore_path` the checkpoint of another trial that it begins from (population based training).
    """

    trial_id: str
    number: int
    config: dict[str, Any]
    evaluated_params: Mapping[str, Any] = attrs.field(factory=dict)
    experiment_tag: str = ""
    dirname: str = ""
    resources: Any = None  # None: the trainable's
    kept: KeptCheckpoints = attrs.field(factory=lambda: KeptCheckpoints(None, None, "max"))
    status: str = "PENDING"
    last_result: dict[str, Any] = attrs.field(factory=dict)
    num_failures: int = 0
    error: str = ""
    exception: BaseException | None = None
    restore_path: str | None = None
    restore_iteration: int = 0
    best: dict[str, tuple[float, float, float, int]] = attrs.field(factory=dict)  # min, max, sum, number
    next_index: int = 0  # of a checkpoint
    node_ip: str = ""
    told: bool = False  # the scheduler knows it
    stop_asked: bool = False
    about: About | None = None  # None: of no experiment yet

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    TERMINATED = "TERMINATED"
    ERROR = "ERROR"

    def is_finished(self) -> bool:
        """Return whether it has ended, well or not."""
        return self.status in FINISHED

    @property
    def checkpoint(self) -> Kept | None:
        """Its newest checkpoint."""
        return self.kept.newest

    def has_checkpoint(self) -> bool:
        """Return whether it has a checkpoint."""
        return self.kept.newest is not None

    @property
    def iteration(self) -> int:
        """The number of its last report."""
        return int(self.last_result.get("training_iteration", 0))

    def update_last_result(self, result: dict[str, Any]) -> None:
        """Note a report."""
        self.last_result = result
        for name, value in result.items():
            if type(value) is float or (type(value) is int):
                if not math.isfinite(value):
                    continue
                low, high, total, number = self.best.get(name, (value, value, 0.0, 0))
                self.best[name] = (min(low, value), max(high, value), total + value, number + 1)

    @property
    def metric_analysis(self) -> dict[str, dict[str, Any]]:
        """The least, the most, the mean and the last value of each metric."""
        return {
            name: {
                "min": low,
                "max": high,
                "avg": total / number,
                "last": self.last_result.get(name, math.nan),
            }
            for name, (low, high, total, number) in self.best.items()
        }

    def set_config(self, config: dict[str, Any]) -> None:
        """Take another configuration, from the next start on."""
        self.config = config

    def set_experiment_tag(self, experiment_tag: str) -> None:
        """Take another tag."""
        self.experiment_tag = experiment_tag

    def set_status(self, status: str) -> None:
        """Be in another state."""
        self.status = status

    @property
    def path(self) -> str:
        """Its folder's name in the experiment's."""
        return self.dirname

    # Of its experiment

    def _about(self) -> About:
        if self.about is None:
            raise ConfigError(f"trial {self.trial_id} is of no experiment yet")
        return self.about

    @property
    def checkpoint_freq(self) -> int:
        """After how many steps of a class there is a checkpoint; 0: none."""
        return self._about().checkpoints.checkpoint_frequency

    @property
    def checkpoint_at_end(self) -> bool:
        """Whether there is a checkpoint at a class's end."""
        return bool(self._about().checkpoints.checkpoint_at_end)

    @property
    def experiment_dir_name(self) -> str:
        """The name of the experiment's folder."""
        return os.path.basename(self._about().storage.path)

    @property
    def local_experiment_path(self) -> str | None:
        """The path of the experiment's folder, None if it is not on this machine."""
        storage = self._about().storage
        return storage.path if storage.is_local else None

    @property
    def remote_experiment_path(self) -> str:
        """The path of the experiment's folder in its storage."""
        return self._about().storage.path

    @property
    def local_path(self) -> str | None:
        """The path of the trial's folder, None if it is not on this machine."""
        storage = self._about().storage
        return storage.at(self.dirname) if storage.is_local else None

    def init_local_path(self) -> None:
        """Make the trial's folder, if it is on this machine."""
        if self.local_path is not None:
            os.makedirs(self.local_path, exist_ok=True)

    def get_trainable_cls(self) -> Any:
        """Return the trainable's class; a function's is made. Raises ConfigError if the trainable is not known here."""
        from shoal.tune.registry import class_of

        if self._about().trainable is None:
            raise ConfigError("the trainable of an experiment that is only looked at is not known")
        return class_of(self._about().trainable, self._about().trainable_name)

    @property
    def placement_group_factory(self) -> PlacementGroupFactory:
        """What the trial gets."""
        given = self.resources or self._about().resources
        if callable(given) and not isinstance(given, PlacementGroupFactory):
            given = given(self.config)
        return resources_of(given)

    def create_placement_group_factory(self) -> None:
        """Fix what the trial gets, where a function of the configuration says it."""
        self.resources = self.placement_group_factory

    def update_resources(self, resources: Any) -> None:
        """Give it other resources, from the next start on.

        Raises ValueError while it runs, ConfigError for what is none.
        """
        if self.status == Trial.RUNNING:
            raise ValueError(f"trial {self.trial_id} is running: its resources change while it does not")
        self.resources = resources_of(resources)

    # How it stands

    @property
    def has_reported_at_least_once(self) -> bool:
        """Whether it has reported."""
        return bool(self.last_result)

    @property
    def latest_checkpoint_result(self) -> Kept | None:
        """Its newest checkpoint with what was reported with it."""
        return self.kept.newest

    def should_stop(self, result: Mapping[str, Any]) -> bool:
        """Return whether a report has a value that ends a trial (`stop` as a mapping), or says that it is done."""
        bounds = self._about().stop
        return bool(result.get("done")) or any(
            name in result and result[name] >= at for name, at in bounds.items()
        )

    def should_checkpoint(self) -> bool:
        """Return whether its last report is one with a checkpoint, of a class."""
        checkpoints = self._about().checkpoints
        every = checkpoints.checkpoint_frequency
        if self.last_result.get("done") and checkpoints.checkpoint_at_end:
            return True
        return bool(every) and self.iteration > 0 and self.iteration % every == 0

    def should_recover(self) -> bool:
        """Return whether it would be started again if it failed now."""
        bound = self._about().max_failures
        return bound < 0 or self.num_failures < bound

    @property
    def error_file(self) -> str | None:
        """The path of the file with its error's text, None if it has not failed."""
        return self._error_path(_ERROR_FILE)

    @property
    def pickled_error_file(self) -> str | None:
        """The path of the file with its error, pickled; None if it has not failed."""
        return self._error_path(_PICKLED_ERROR_FILE)

    def _error_path(self, name: str) -> str | None:
        return f"{self._about().storage.at(self.dirname)}/{name}" if self.status == Trial.ERROR else None

    def error_files(self) -> dict[str, bytes]:
        """Return the files that tell of its failure, by path in the experiment's folder."""
        files = {f"{self.dirname}/{_ERROR_FILE}": self.error.encode()}
        try:
            files[f"{self.dirname}/{_PICKLED_ERROR_FILE}"] = pickle.dumps(self.exception)
        except Exception:  # a stranger's __reduce__ may raise anything; the text is there
            return files
        return files

    def get_error(self) -> BaseException | None:
        """Return what it failed with, None if it has not."""
        return self.exception

    def get_pickled_error(self) -> BaseException | None:
        """Return what it failed with, None if it has not."""
        return self.exception

    def get_ray_actor_ip(self) -> str | None:
        """Return the host that it ran on last, None before its first report."""
        return self.node_ip or self.last_result.get("hostname")

    # As text, and anew

    @classmethod
    def generate_id(cls) -> str:
        """Return an identifier that no other trial has.

        Example: `Trial.generate_id()  # "8f3b2c1a"`
        """
        return uuid4().hex[:8]

    def reset(self) -> Trial:
        """Return a trial of the same configuration and name that has not begun."""
        return Trial(
            self.trial_id,
            self.number,
            self.config,
            self.evaluated_params,
            self.experiment_tag,
            self.dirname,
            self.resources,
            about=self.about,
        )

    def get_json_state(self) -> tuple[str, str]:
        """Return it as JSON: what it is, and how it stands. What is no JSON is pickled in there."""
        import json

        from shoal.tune.tools.serialization import TuneFunctionEncoder

        what = {name: getattr(self, name) for name in _WHAT}
        stands = {name: getattr(self, name) for name in _STANDS}
        stands["checkpoints"] = [
            [each.index, each.name, each.path, dict(each.metrics)] for each in self.kept.all
        ]
        return json.dumps(what, cls=TuneFunctionEncoder), json.dumps(stands, cls=TuneFunctionEncoder)

    @classmethod
    def from_json_state(cls, json_state: str, stub: bool = False) -> Trial:
        """Return the trial of the first text of `get_json_state`. Pickles in it may run code: for your own only.

        Parameters: with `stub` pickles are left as they are.

        Example: `Trial.from_json_state(trial.get_json_state()[0])`
        """
        import json

        from shoal.tune.tools.serialization import TuneFunctionDecoder

        found = (
            json.loads(json_state)
            if stub
            else json.loads(json_state, cls=TuneFunctionDecoder, allow_cloudpickle=True)
        )
        return cls(**found)

    def restore_run_metadata(self, run_metadata: str) -> None:
        """Stand as the second text of `get_json_state` says."""
        import json

        from shoal.tune.tools.serialization import TuneFunctionDecoder

        found = json.loads(run_metadata, cls=TuneFunctionDecoder, allow_cloudpickle=True)
        self.kept.all = [
            Kept(index, name, metrics, path) for index, name, path, metrics in found.pop("checkpoints")
        ]
        for name, value in found.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        return self.trial_id

    def __repr__(self) -> str:
        return f"<Trial {self.trial_id} {self.status}>"


_WHAT = ("trial_id", "number", "config", "evaluated_params", "experiment_tag", "dirname")
_STANDS = (
    "status",
    "last_result",
    "num_failures",
    "error",
    "restore_path",
    "restore_iteration",
    "best",
    "next_index",
)
