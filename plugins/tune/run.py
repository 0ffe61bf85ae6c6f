"""The older ways to run experiments: functions with everything as their arguments."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.train.config import CheckpointConfig, FailureConfig, RunConfig, SyncConfig
from shoal.tune.analysis import ExperimentAnalysis
from shoal.tune.config import ResumeConfig, TuneConfig
from shoal.tune.errors import TuneError
from shoal.tune.experiment.experiment import Experiment
from shoal.tune.experiment.export_format import ExportFormat
from shoal.tune.experiment.trial import Trial
from shoal.tune.launch import Extras, Launch, Plan, launch, reopen
from shoal.tune.output import files_of
from shoal.tune.trainable.given import with_resources

__all__ = ["run", "run_experiments"]


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
    progress_reporter: Any = None,
    log_to_file: Any = False,
    trial_name_creator: Callable[..., str] | None = None,
    trial_dirname_creator: Callable[..., str] | None = None,
    sync_config: SyncConfig | None = None,
    export_formats: Sequence[str] | None = None,
    max_failures: int = 0,
    fail_fast: bool | str = False,
    restore: str | None = None,
    resume: bool | str | None = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool | None = None,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Any] | None = None,
    max_concurrent_trials: int | None = None,
    keep_checkpoints_num: int | None = None,
    checkpoint_score_attr: str | None = None,
    checkpoint_freq: int = 0,
    checkpoint_at_end: bool = False,
    chdir_to_trial_dir: bool = True,
) -> ExperimentAnalysis:
    """Run an experiment; return what it has come to. `Tuner` is the newer way, whose arguments these are.

    Parameters: those of TuneConfig, RunConfig, CheckpointConfig (`keep_checkpoints_num`, `checkpoint_score_attr`, with
    "min-" before it for the least, `checkpoint_freq` and `checkpoint_at_end`) and Experiment; `run_or_experiment` is
    the trainable, or an Experiment, which has its own of these; `config` is the space. `resume` ("AUTO": if there is
    something) goes on with the experiment of that name.
    Raises ConfigError, and TuneError when trials fail, unless `raise_on_failed_trial` is False.

    Example: `analysis = tune.run(train, config={"lr": tune.uniform(0, 1)}, metric="loss", mode="min")`
    """
    if keep_checkpoints_num or checkpoint_score_attr or checkpoint_freq or checkpoint_at_end:
        if checkpoint_config is not None:
            raise ConfigError("give checkpoint_config, or its parts as arguments, not both")
        score = checkpoint_score_attr or None
        checkpoint_config = CheckpointConfig(
            num_to_keep=keep_checkpoints_num,
            checkpoint_score_attribute=score.removeprefix("min-") if score else None,
            checkpoint_score_order="min" if score and score.startswith("min-") else "max",
            checkpoint_frequency=checkpoint_freq,
            checkpoint_at_end=checkpoint_at_end,
        )
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
        chdir_to_trial_dir=chdir_to_trial_dir,
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
        progress_reporter=progress_reporter,
    )
    if isinstance(run_or_experiment, Experiment):
        plan = run_or_experiment.plan(tune, settings)
        trainable, config = plan.trainable, plan.space
    else:
        formats = list(export_formats or ())
        ExportFormat.validate(formats)
        extras = Extras(files_of(log_to_file), tuple(formats), restore)
        plan = Plan.of(trainable, config or {}, tune, settings, more=extras)
    if resume:
        plan = _resumed(plan, trainable, config, resume, resume_config)
    analysis = launch(plan)
    if raise_on_failed_trial:
        _refuse_failures(analysis.trials)
    return analysis


def run_experiments(
    experiments: Experiment | Mapping[str, Any] | Sequence[Any],
    scheduler: Any = None,
    verbose: int = 1,
    progress_reporter: Any = None,
    resume: bool | str | None = None,
    resume_config: ResumeConfig | None = None,
    reuse_actors: bool | None = None,
    raise_on_failed_trial: bool = True,
    concurrent: bool = True,
    callbacks: Sequence[Any] | None = None,
) -> list[Trial]:
    """Run several experiments; return their trials.

    Parameters: `experiments` are objects of Experiment, one or a list, or a mapping from names to mappings of their
    arguments. With `concurrent` they run at once, as far as there are resources, each with a copy of the scheduler,
    else one after another. The others are those of `run`.
    Raises ConfigError, and TuneError when trials fail, unless `raise_on_failed_trial` is False.

    Example: `run_experiments({"walks": {"run": Walk, "config": {"speed": 1}}})`
    """
    import copy

    settings = RunConfig(verbose=verbose, callbacks=callbacks, progress_reporter=progress_reporter)
    plans = []
    for each in _experiments(experiments):
        tune = TuneConfig(scheduler=copy.deepcopy(scheduler), reuse_actors=reuse_actors)
        plan = each.plan(tune, settings)
        if resume:
            plan = _resumed(plan, plan.trainable, plan.space, resume, resume_config)
        plans.append(plan)
    launches = [Launch(plan) for plan in plans]
    if not concurrent or len(launches) == 1:
        trials = [trial for each in launches for trial in each.run().trials]
    else:
        with ThreadPoolExecutor(len(launches), "shoal-tune-experiment") as pool:
            running = [pool.submit(each.run) for each in launches]
            try:
                trials = [trial for each in running for trial in each.result().trials]
            except BaseException:
                for one in launches:
                    one.interrupt()
                raise
    if raise_on_failed_trial:
        _refuse_failures(trials)
    return trials


def _experiments(given: Any) -> list[Experiment]:
    if isinstance(given, Experiment):
        return [given]
    if isinstance(given, Mapping):
        return [Experiment.from_json(name, spec) for name, spec in given.items()]
    if isinstance(given, Sequence) and given and all(isinstance(each, Experiment) for each in given):
        return list(given)
    raise ConfigError(
        f"experiments must be objects of Experiment, or a mapping of them, not {describe(given)}"
    )


def _refuse_failures(trials: Sequence[Trial]) -> None:
    failed = [trial for trial in trials if trial.status == "ERROR"]
    if failed:
        raise TuneError(
            f"{len(failed)} of {len(trials)} trials failed: "
            f"{', '.join(trial.trial_id for trial in failed[:5])}; the first: {failed[0].error}"
        ) from failed[0].exception


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
    run = attrs.evolve(
        again.run,
        callbacks=plan.run.callbacks,
        progress_reporter=plan.run.progress_reporter,
        verbose=plan.run.verbose,
    )
    return attrs.evolve(again, tune=plan.tune, run=run, more=plan.more)
