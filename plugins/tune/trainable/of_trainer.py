"""Trainers as trainables: each trial is a run of the trainer, whose reports are the trial's."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.train.callbacks import RunContext, UserCallback
from shoal.train.checkpoint import Checkpoint
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.trainer import DataParallelTrainer
from shoal.tune.resources import resources_of
from shoal.tune.session import session_here
from shoal.tune.trainable.given import RESOURCES

__all__ = ["of_trainer"]


class _Forward(UserCallback):
    """Tells the experiment what the trainer's run reports."""

    def after_report(
        self, run_context: RunContext, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Report rank 0's metrics. Raises TrialStopped when the trial is over, which ends the run."""
        session_here("a trainer's report").report(metrics[0], checkpoint, upload=False)


class _TrainerRun:
    """The function that runs a trainer with a configuration."""

    def __init__(self, trainer: DataParallelTrainer) -> None:
        self._trainer = trainer
        self.__name__ = type(trainer).__name__
        setattr(self, RESOURCES, self._resources)

    def _resources(self, config: Mapping[str, Any]) -> Any:
        return resources_of(_scaling(config.get("scaling_config"), self._trainer.scaling_config))

    def __call__(self, config: dict[str, Any]) -> None:
        session = session_here("a trainer")
        order = session.order
        trainer = copy.copy(self._trainer)
        for name, value in config.items():
            if name == "train_loop_config":
                value = {**(trainer.train_loop_config or {}), **value}
            elif name == "scaling_config":
                value = _scaling(value, trainer.scaling_config)
            setattr(trainer, name, value)
        run: RunConfig = trainer.run_config
        trainer.run_config = attrs.evolve(
            run,
            name=order.dirname,
            storage_path=session.storage.path,
            storage_filesystem=session.storage.filesystem,
            callbacks=[*run.callbacks, _Forward()],
        )
        checkpoint = session.checkpoint()
        if checkpoint is not None and f"/{order.dirname}/" not in checkpoint.path:
            trainer.resume_from_checkpoint = checkpoint  # another trial's
        trainer.fit()

    def __getstate__(self) -> dict[str, Any]:
        return {"trainer": self._trainer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["trainer"])  # type: ignore[misc]


def _scaling(given: Any, default: ScalingConfig) -> ScalingConfig:
    if given is None:
        return default
    if isinstance(given, ScalingConfig):
        return given
    if isinstance(given, Mapping):
        return attrs.evolve(default, **given)
    raise ConfigError(f"scaling_config must be a ScalingConfig or a mapping, not {describe(given)}")


def of_trainer(trainer: DataParallelTrainer, space: Mapping[str, Any]) -> Any:
    """Return a trainable that runs a trainer. Raises ConfigError for a space with what the trainer does not have.

    Example: `of_trainer(TorchTrainer(train), {"train_loop_config": {"lr": tune.uniform(0, 1)}})`
    """
    unknown = [name for name in space if not hasattr(trainer, name)]
    if unknown:
        raise ConfigError(
            f"param_space of a {type(trainer).__name__} has {', '.join(map(repr, unknown))}; it may have the trainer's "
            "arguments, such as 'train_loop_config' (with the function's configuration) and 'scaling_config'"
        )
    return _TrainerRun(trainer)
