"""The older way to run an experiment: a function with everything as its arguments."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from shoal.errors import ConfigError
from shoal.train.config import CheckpointConfig, FailureConfig, RunConfig, SyncConfig
from shoal.tune.analysis import ExperimentAnalysis
from shoal.tune.config import ResumeConfig, TuneConfig
from shoal.tune.errors import TuneError
from shoal.tune.launch import Plan, launch, reopen
from shoal.tune.trainable.given import with_resources

__all__ = ["run"]


def run(
    run_or_experiment: Any,
    *,
    name: str | None = None,
    metric: str | None = None,
    mode: str | None = None,
    stop: Any = None,
    time_budget_s: float | datetime.timedelta | None = None,
    config: Mapping[str, Any] | None = None,
    resources_per_trial: Any = None,
    num_samples: int = 1,
    storage_path: str | None = None,
    storage_filesystem: Any = None,
    search_alg: Any = None,
    scheduler: Any = None,
    checkpoint_config: CheckpointConfig | None = None,
    verbose: int = 1,
    trial_name_creator: Callable[..., str] | None = None,
    trial_dirname_creator: Callable[..., str] | None = None,
    sync_config: SyncConfig | None = None,
    max_failures: int = 0,
    fail_fast: bool | str = False,
    resume: bool | str | None = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool | None = None,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Any] | None = None,
    max_concurrent_trials: int | None = None,
) -> ExperimentAnalysis:
    """Run an experiment; return what it has come to. `Tuner` is the newer way, whose arguments these are.

    Parameters: those of TuneConfig and RunConfig; `run_or_experiment` is the trainable and `config` the space.
    `resume` ("AUTO": if there is something) goes on with the experiment of that name.
    Raises ConfigError, and TuneError when trials fail, unless `raise_on_failed_trial` is False.

    Example: `analysis = tune.run(train, config={"lr": tune.uniform(0, 1)}, metric="loss", mode="min")`
    """
    trainable = run_or_experiment
    if resources_per_trial is not None:
        trainable = with_resources(trainable, resources_per_trial)
    tune = TuneConfig(
        mode=mode,
        metric=metric,
        search_alg=search_alg,
        scheduler=scheduler,
        num_samples=num_samples,
        max_concurrent_trials=max_concurrent_trials,
        time_budget_s=time_budget_s,
        reuse_actors=reuse_actors,
        trial_name_creator=trial_name_creator,
        trial_dirname_creator=trial_dirname_creator,
    )
    settings = RunConfig(
        name=name,
        storage_path=storage_path,
        storage_filesystem=storage_filesystem,
        stop=stop,
        failure_config=FailureConfig(max_failures=max_failures, fail_fast=fail_fast),
        checkpoint_config=checkpoint_config,
        sync_config=sync_config,
        callbacks=callbacks,
        verbose=verbose,
    )
    plan = Plan.of(trainable, config or {}, tune, settings)
    if resume:
        plan = _resumed(plan, trainable, config, resume, resume_config)
    analysis = launch(plan)
    failed = [trial for trial in analysis.trials if trial.status == "ERROR"]
    if failed and raise_on_failed_trial:
        raise TuneError(
            f"{len(failed)} of {len(analysis.trials)} trials failed: "
            f"{', '.join(trial.trial_id for trial in failed[:5])}; the first: {failed[0].error}"
        ) from failed[0].exception
    return analysis


def _resumed(
    plan: Plan, trainable: Any, space: Any, resume: bool | str, resume_config: ResumeConfig | None
) -> Plan:
    from shoal.tune.tuner import Tuner

    if not plan.run.name:
        raise ConfigError("resume needs the experiment's name")
    path = f"{plan.run.storage.rstrip('/')}/{plan.run.name}"
    if not Tuner.can_restore(path, plan.run.storage_filesystem):
        if isinstance(resume, str) and resume.upper().startswith("AUTO"):
            return plan
        raise ConfigError(f"there is no experiment in {path} to resume; resume='AUTO' begins one then")
    flags = resume.upper() if isinstance(resume, str) else ""
    wanted = resume_config or ResumeConfig(
        errored="RESTART" if "RESTART_ERRORED" in flags else "RESUME" if "ERRORED" in flags else "SKIP"
    )
    again = reopen(path, plan.run.storage_filesystem, trainable, space, wanted)
    return attrs.evolve(again, tune=plan.tune, run=attrs.evolve(again.run, callbacks=plan.run.callbacks))
