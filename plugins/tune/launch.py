"""From what a user gives to an experiment that runs: everything checked, made and joined."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import attrs

from shoal.errors import ConfigError, describe
from shoal.train.config import RunConfig
from shoal.train.controller.records import living
from shoal.train.storage import Storage, locate
from shoal.train.trainer import DataParallelTrainer
from shoal.tune.analysis import ExperimentAnalysis
from shoal.tune.beginning import learn, refuse_clocks
from shoal.tune.callback import Callback, CallbackList
from shoal.tune.config import ResumeConfig, TuneConfig
from shoal.tune.controller.machine import Controller, Setup
from shoal.tune.controller.shell import Job, Shell
from shoal.tune.errors import TuneError
from shoal.tune.experiment.trial import About, Trial
from shoal.tune.page import facts_of
from shoal.tune.registry import check_trainable, is_function_trainable, name_of, source_of, trainable_named
from shoal.tune.resources import PlacementGroupFactory, resources_of
from shoal.tune.schedulers.plugins import scheduler_of
from shoal.tune.search.basic_variant import BasicVariantGenerator
from shoal.tune.search.plugins import source_of as search_of
from shoal.tune.search.variant_generator import format_vars, parse_spec_vars
from shoal.tune.state import FILE, ExperimentFile, decode, encode
from shoal.tune.stopper import NoopStopper, stopper_of
from shoal.tune.tools.log import in_notebook
from shoal.tune.trainable.given import RESOURCES
from shoal.tune.trainable.of_trainer import of_trainer
from shoal.tune.worker import Task
from shoal.util.reports import tell

log = logging.getLogger("shoal.tune")

_led: set[str] = set()  # the folders of experiments that this process leads now
_LONGEST_NAME = 100
_TELL_SECONDS = 1.0  # between two times that the dashboard is told
_MOST_POINTS = 500  # of the curve of the best
_STORE_SECONDS = 0.2  # at least between two times that a searcher's state is stored


@attrs.frozen
class Extras:
    """What only the older ways to run an experiment say.

    `files` are the names of the files in each trial's folder that its output goes to: standard output and errors, None
    for none. Classes export their models in `export_formats` at their end. All trials begin from the checkpoint
    `begin_from`.
    """

    files: tuple[str | None, str | None] = (None, None)
    export_formats: tuple[str, ...] = ()
    begin_from: str | None = None


@attrs.frozen(kw_only=True)
class Plan:
    """An experiment as it was asked for, checked."""

    trainable: Any
    name: str
    space: Mapping[str, Any]
    tune: TuneConfig
    run: RunConfig
    restored: Storage | None = None
    resume: ResumeConfig = attrs.field(factory=ResumeConfig)
    more: Extras = attrs.field(factory=lambda: Extras())

    @classmethod
    def of(
        cls, trainable: Any, space: Mapping[str, Any], tune: TuneConfig, run: RunConfig | None, **more: Any
    ) -> Plan:
        """Check what was given. Raises ConfigError."""
        if isinstance(trainable, str):
            trainable = trainable_named(trainable)
        trainable = getattr(trainable, "as_trainable", lambda: trainable)()
        if isinstance(trainable, DataParallelTrainer):
            run = run or attrs.evolve(trainable.run_config, callbacks=[])
            trainable = of_trainer(trainable, space)
        check_trainable(trainable)
        space = getattr(trainable, "prepare_space", lambda given: given)(space)
        parse_spec_vars(space)
        run = run or RunConfig()
        stopper_of(run.stop)
        scheduler_of(tune.scheduler)
        return cls(trainable=trainable, name=name_of(trainable), space=space, tune=tune, run=run, **more)


def reopen(
    path: str, filesystem: Any, trainable: Any, space: Mapping[str, Any] | None, resume: ResumeConfig
) -> Plan:
    """Return the plan of an experiment that was there. Raises ConfigError if it goes on elsewhere."""
    found, inside = locate(path, filesystem)
    storage = Storage(found, inside.rstrip("/"), patience=30.0)
    with ExperimentFile(storage, create=False, read_only=True) as file:
        meta = file.meta()
    refuse_living(meta, storage)
    missing = [name for name in ("tune", "run", "space") if name not in meta]
    if missing and space is None:
        log.warning(
            "%s: what is stored of %s cannot be read here; defaults are taken", path, ", ".join(missing)
        )
    old = meta.get("space", {})
    if space is not None and "space" in meta:
        changes = space_changes(old, space)
        if changes:
            log.warning("the space is not the one that the experiment began with: %s", "; ".join(changes))
    run = meta.get("run") or RunConfig()
    name = os.path.basename(storage.path)
    run = attrs.evolve(
        run,
        name=name,
        storage_path=os.path.dirname(storage.path) or ".",
        storage_filesystem=storage.filesystem,
    )
    plan = Plan.of(
        trainable,
        old if space is None else space,
        meta.get("tune") or TuneConfig(),
        run,
        restored=storage,
        resume=resume,
    )
    source = meta.get("source", "")
    if meta.get("trainable") not in (None, plan.name):
        raise ConfigError(
            f"the experiment in {path} is of the trainable {meta['trainable']!r}, not {plan.name!r}"
        )
    now = source_of(plan.trainable)
    if source and now and source != now:
        log.warning(
            "the code of %s has changed since the experiment began: %s", plan.name, code_changes(source, now)
        )
    return plan


def space_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two spaces, a line for each parameter.

    Example: `space_changes({"lr": tune.uniform(0, 1)}, {"lr": tune.uniform(0, 2)})`
    """

    def lines(space: Mapping[str, Any]) -> dict[str, str]:
        fixed, drawn, grids = parse_spec_vars(space)
        return {"/".join(map(str, path)): repr(value) for path, value in [*fixed, *drawn, *grids]}

    before, after = lines(old), lines(new)
    found = [f"{name} is gone" for name in before if name not in after]
    found += [f"{name} is new" for name in after if name not in before]
    return found + [
        f"{name} was {before[name]}, is {after[name]}"
        for name in before
        if name in after and before[name] != after[name]
    ]


def code_changes(old: str, new: str) -> str:
    """Return how many lines differ between two texts, and the first of them."""
    import difflib

    changed = [
        line
        for line in difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    return f"{len(changed)} lines differ, first {changed[0].strip()!r}" if changed else "in what it refers to"


def refuse_living(meta: Mapping[str, Any], storage: Storage) -> None:
    """Raise ConfigError if somebody leads the experiment of these facts right now."""
    here = meta.get("pid") == os.getpid() and meta.get("host") == socket.gethostname()
    if here and storage.path not in _led:
        return  # it ended here, and the disk was too full to write that down
    if meta.get("status") == "running" and (who := living(meta)):
        raise ConfigError(
            f"the experiment in {storage.path} goes on in {who.removeprefix('in ')}: give this one another name, "
            "or end that one"
        )


@contextlib.contextmanager
def leading(storage: Storage) -> Iterator[None]:
    """Lead the experiment in that folder, in this process. Raises ConfigError if another thread does."""
    if storage.path in _led:
        raise ConfigError(
            f"the experiment in {storage.path} goes on in this program: give this one another name"
        )
    _led.add(storage.path)
    try:
        yield
    finally:
        _led.discard(storage.path)


def launch(plan: Plan) -> ExperimentAnalysis:
    """Run an experiment to its end; return what it has come to."""
    return Launch(plan).run()


class Launch:
    """One run of an experiment."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stored = 0.0  # when the snapshot was taken last, and how long that took
        self._storing = 0.0
        self._began = time.time()
        self._called = ""
        self._shell: Shell | None = None
        self._curve: list[tuple[float, float]] = []  # the best value so far, by seconds
        self._told_at = time.monotonic()
        self._told: set[str] = set()  # whose state cannot be stored
        tune, run = plan.tune, plan.run
        logging.getLogger("shoal.tune").setLevel(
            "ERROR" if run.verbose == 0 else run.logging_config.log_level
        )
        self.scheduler = scheduler_of(tune.scheduler)
        self.source = search_of(tune.search_alg)
        self.stopper = stopper_of(run.stop)
        if tune.deterministic:
            refuse_clocks(self.scheduler, self.stopper)
        seed = tune.seed if tune.seed is not None or not tune.deterministic else 0
        metric = tune.metric if isinstance(tune.metric, str) else None
        mode = tune.mode if isinstance(tune.mode, str) else None
        if not self.scheduler.set_search_properties(metric, mode, **({} if seed is None else {"seed": seed})):
            raise ConfigError(
                f"{type(self.scheduler).__name__} and TuneConfig both have metric or mode "
                f"({self.scheduler.metric!r}, {self.scheduler.mode!r} and {metric!r}, {mode!r}): give them in one place"
            )
        self.metric: Any = tune.metric or self.scheduler.metric or getattr(self.source, "metric", None)
        self.mode: Any = tune.mode or self.scheduler.mode
        if isinstance(self.source, BasicVariantGenerator) and seed is not None:
            self.source.seed = seed
        self.source.set_search_properties(
            self.metric, self.mode, plan.space, num_samples=tune.num_samples, seed=seed
        )
        self._seed = seed
        if tune.warm_start is not None and plan.restored is None:
            learn(self.source, tune.warm_start, metric)

    def run(self) -> ExperimentAnalysis:
        """Run it."""
        plan, tune = self._plan, self._plan.tune
        if plan.restored is None:
            name = plan.run.name or f"{plan.name}_{time.strftime('%Y-%m-%d_%H-%M-%S')}_{uuid4().hex[:4]}"
            above = plan.run.storage_context
            storage = Storage(above.filesystem, f"{above.path.rstrip('/')}/{name}", above.patience)
            set_aside(storage)
        else:
            storage = plan.restored
            name = os.path.basename(storage.path)
        self._called = name
        with leading(storage), ExperimentFile(storage) as file:
            known = self._known(file)
            prefix = known[0].trial_id.rpartition("_")[0] if known else self._prefix()
            machine = Controller(
                Setup(
                    scheduler=self.scheduler,
                    source=self.source,
                    stopper=self.stopper,
                    metric=self.metric if isinstance(self.metric, str) else None,
                    max_failures=plan.run.failure_config.max_failures,
                    fail_fast=bool(plan.run.failure_config.fail_fast),
                    checkpoints=plan.run.checkpoint_config,
                    time_budget=tune.time_budget_s,
                    prefix=prefix,
                    resources=self._resources(),
                    names=self._name,
                    about=About(
                        storage=storage,
                        trainable=plan.trainable,
                        trainable_name=plan.name,
                        checkpoints=plan.run.checkpoint_config,
                        stop=plan.run.stop if isinstance(plan.run.stop, Mapping) else {},
                        max_failures=plan.run.failure_config.max_failures,
                        resources=self._resources(),
                    ),
                    begin_from=plan.more.begin_from,
                ),
                known,
            )
            self._join(machine, file)
            self._describe(file, name)
            callbacks = CallbackList([*plan.run.callbacks, *self._reporters()])
            callbacks.setup(
                stop=plan.run.stop,
                num_samples=tune.num_samples,
                total_num_samples=self.source.total_samples,
                experiment=name,
                path=storage.path,
                metric=self.metric,
                mode=self.mode,
            )
            file.put_meta(snapshot=self._snapshot(machine, file))
            file.commit()
            shell = Shell(
                self._job(name, storage), machine, file, callbacks, lambda: self._watch(machine, file)
            )
            self._shell = shell
            status = "failed"
            try:
                error = shell.lead()
                status = "finished" if error is None else "failed"
            finally:
                self._tell(machine, status)
                for name_of_file, text in self.scheduler.files().items():
                    storage.write(name_of_file, text.encode())
                file.put_meta(status=status, ended=time.time(), snapshot=self._snapshot(machine, file))
                file.commit()
                callbacks.on_experiment_end(machine.trials)
        analysis = ExperimentAnalysis(
            storage.path,
            storage_filesystem=storage.filesystem,
            trials=machine.trials,
            default_metric=self.metric,
            default_mode=self.mode,
        )
        if error is not None:
            if isinstance(error, (KeyboardInterrupt, TuneError)):
                raise error
            raise TuneError(str(error)) from error
        if plan.run.failure_config.fail_fast == "raise":
            for trial in machine.trials:
                if trial.status == Trial.ERROR and trial.exception is not None:
                    raise trial.exception
        return analysis

    def interrupt(self) -> None:
        """Have `run`, in another thread, end as an interrupt has it end. Raises nothing if it has not begun."""
        if self._shell is not None:
            self._shell.interrupted.set()

    def _job(self, name: str, storage: Storage) -> Job:
        plan, tune = self._plan, self._plan.tune
        limit = tune.max_concurrent_trials or None
        own = getattr(self.source, "max_concurrent", 0)
        if own:
            limit = min(limit, own) if limit else own
        waits = self.scheduler.needs_every_report or not isinstance(self.stopper, NoopStopper)
        simple = isinstance(self.source, BasicVariantGenerator) and not own
        checkpoints = plan.run.checkpoint_config
        return Job(
            name=name,
            task=Task(
                trainable=plan.trainable,
                name=plan.name,
                storage=storage,
                chdir=tune.chdir_to_trial_dir,
                checkpoint_frequency=checkpoints.checkpoint_frequency,
                checkpoint_at_end=bool(checkpoints.checkpoint_at_end),
                reuse=tune.reuse_actors is not False,
                files=plan.more.files,
                export_formats=plan.more.export_formats,
            ),
            limit=limit,
            shares=simple
            and not tune.deterministic
            and not self.scheduler.needs_every_report
            and tune.reuse_actors is not False
            and is_function_trainable(plan.trainable)
            and isinstance(self._resources(), PlacementGroupFactory),
            reuse=tune.reuse_actors,
            waits=waits or tune.deterministic,
            seed=self._seed,
            in_turns=tune.deterministic,
            environment=plan.run.worker_runtime_env,
        )

    def _prefix(self) -> str:
        """Return what trials' names begin with: the same for the same seed, where everything is."""
        return f"{(self._seed or 0) % 16**5:05x}" if self._plan.tune.deterministic else uuid4().hex[:5]

    def _resources(self) -> Any:
        """Return what a trial gets, or the function that says it."""
        trainable = self._plan.trainable
        given = getattr(trainable, RESOURCES, None)
        if given is None:
            given = getattr(trainable, "default_resource_request", None)
        return resources_of(None) if given is None else given

    def _name(self, trial: Trial) -> tuple[str, str]:
        tune = self._plan.tune
        chosen = format_vars(
            {tuple(path.split("/")): value for path, value in trial.evaluated_params.items()}
        )
        tag = f"{trial.number}_{chosen}" if chosen else str(trial.number)
        trial.experiment_tag = tag
        name = tune.trial_name_creator(trial) if tune.trial_name_creator else trial.trial_id
        folder = (
            tune.trial_dirname_creator(trial)
            if tune.trial_dirname_creator
            else f"{name}_{chosen}".rstrip("_")
        )
        folder = str(folder)[:_LONGEST_NAME]
        if not folder or "/" in folder or folder in (".", ".."):
            raise ConfigError(f"trial_dirname_creator must return a folder's name, not {folder!r}")
        return tag, folder

    def _reporters(self) -> list[Callback]:
        """Return what shows the progress: what was given, or a table where somebody looks at the terminal."""
        given: Any = self._plan.run.progress_reporter
        if given is None and (self._plan.run.verbose == 0 or not (sys.stdout.isatty() or in_notebook())):
            return []
        from shoal.tune.progress_reporter import (
            CLIReporter,
            JupyterNotebookReporter,
            ProgressReporter,
            ReporterCallback,
        )

        if given is not None and not isinstance(given, ProgressReporter):
            raise ConfigError(f"progress_reporter must be a ProgressReporter, not {describe(given)}")
        return [ReporterCallback(given or (JupyterNotebookReporter() if in_notebook() else CLIReporter()))]

    def _tell(self, machine: Controller, state: str) -> None:
        """Tell the dashboard how the experiment stands."""
        if isinstance(self.metric, str) and self.mode in ("max", "min"):
            sign = 1.0 if self.mode == "max" else -1.0
            best = [trial.best[self.metric] for trial in machine.trials if self.metric in trial.best]
            if best:
                value = max(high for _, high, _, _ in best) if sign > 0 else min(low for low, _, _, _ in best)
                if not self._curve or self._curve[-1][1] != value:
                    self._curve.append((round(time.time() - self._began, 1), value))
                    del self._curve[:-_MOST_POINTS]
        tell(
            "tune",
            self._called,
            facts_of(machine.trials, self.metric, self.mode, state, self._began, self._curve),
        )
        self._told_at = time.monotonic()

    # What is stored, and what was

    def _describe(self, file: ExperimentFile, name: str) -> None:
        plan = self._plan
        facts = {
            "name": name,
            "trainable": plan.name,
            "source": source_of(plan.trainable),
            "metric": self.metric,
            "mode": self.mode,
            "status": "running",
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "began": time.time(),
            "beat": time.time(),
            "total": self.source.total_samples,
            "python": sys.version.split()[0],
        }
        run = attrs.evolve(plan.run, callbacks=[], storage_filesystem=None, progress_reporter=None)
        for key, value in (("space", dict(plan.space)), ("tune", plan.tune), ("run", run)):
            try:
                file.put_meta(**{key: value})
            except TuneError as error:
                log.warning("%s: %s; Tuner.restore() will need it again", name, error)
        file.put_meta(**facts)
        file.commit()

    def _watch(self, machine: Controller, file: ExperimentFile) -> None:
        """Store what the searcher and the scheduler know, now and then: a twentieth of the time at most."""
        now = time.monotonic()
        if now - self._told_at >= _TELL_SECONDS:
            self._tell(machine, "running")
        if now - self._stored >= max(_STORE_SECONDS, 20 * self._storing):
            file.put_meta(beat=time.time(), snapshot=self._snapshot(machine, file))
            file.commit()
            self._stored = time.monotonic()
            self._storing = self._stored - now

    def _snapshot(self, machine: Controller, file: ExperimentFile) -> dict[str, Any]:
        """Return what the searcher, the scheduler and the stopper know, and up to which report."""
        file.commit()
        known: dict[str, Any] = {"reports": file.count_reports(), "trials": len(machine.trials)}
        known["live"] = [trial.number for trial in machine.get_live_trials()]
        for name, state in (
            ("source", self.source.get_state),
            ("scheduler", lambda: self.scheduler.__dict__),
            ("stopper", lambda: self.stopper),
        ):
            try:
                known[name] = encode(state())
            except Exception as error:  # a stranger's state may hold anything
                if name not in self._told:
                    self._told.add(name)
                    log.warning(
                        "the state of the %s cannot be stored (%s): Tuner.restore() begins it anew",
                        name,
                        error,
                    )
        return known

    def _known(self, file: ExperimentFile) -> list[Trial]:
        """Return the trials of an experiment that goes on, each as it is to go on."""
        resume = self._plan.resume
        trials = file.trials(self._plan.run.checkpoint_config)
        for trial in trials:
            was = {Trial.TERMINATED: "finished", Trial.ERROR: "errored"}.get(trial.status, "unfinished")
            what = getattr(resume, was)
            if what == "RESTART":
                trial.kept.all.clear()
                trial.last_result, trial.best = {}, {}
                file.forget_from([trial.number])
            if what == "SKIP":
                if was == "unfinished":
                    trial.status = Trial.TERMINATED
                    file.put_trial(trial)
                continue
            if (
                was == "unfinished"
                and what == "RESUME"
                and trial.checkpoint is None
                and trial.restore_path is None
            ):
                trial.last_result, trial.best = {}, {}  # it begins again
            trial.status = Trial.PENDING
            if was == "errored":
                trial.num_failures, trial.error, trial.exception = 0, "", None
            file.put_trial(trial)
        return trials

    def _join(self, machine: Controller, file: ExperimentFile) -> None:
        """Have searcher, scheduler and stopper know what they knew, and what has happened since that was stored."""
        snapshot = file.meta().get("snapshot")
        if snapshot is None:
            return
        if "source" in snapshot:
            self.source.set_state(decode(snapshot["source"]))
        if "scheduler" in snapshot:
            self.scheduler.__dict__.update(decode(snapshot["scheduler"]))
        if "stopper" in snapshot and self._plan.run.stop is not None:
            self.stopper = machine.set_stopper(decode(snapshot["stopper"]))
        before = set(snapshot["live"])
        for trial in machine.trials[snapshot["trials"] :]:
            self.source.note_trial(trial.trial_id, trial.config)
            self.scheduler.on_trial_add(machine, trial)
            before.add(trial.number)
        for _, number, result in file.all_reports(snapshot["reports"]):
            if number < len(machine.trials):
                trial = machine.trials[number]
                self.source.on_trial_result(trial.trial_id, result)
                self.scheduler.on_trial_result(machine, trial, result)
        for number in before:
            trial = machine.trials[number]
            if trial.is_finished():
                failed = trial.status == Trial.ERROR
                self.source.on_trial_complete(trial.trial_id, trial.last_result or None, failed)
        machine.take()


def set_aside(storage: Storage) -> None:
    """Have a new experiment begin where one was. Raises ConfigError if that one goes on."""
    try:
        with ExperimentFile(storage, create=False, read_only=True) as file:
            meta = file.meta()
    except FileNotFoundError:
        return
    refuse_living(meta, storage)
    name = f"experiment_{time.strftime('%Y-%m-%d_%H-%M-%S', time.localtime(meta.get('began', 0)))}.sqlite"
    if storage.is_local:
        os.replace(storage.at(FILE), storage.at(name))
        for beside in ("-wal", "-shm"):
            if os.path.exists(storage.at(FILE + beside)):
                os.unlink(storage.at(FILE + beside))
    else:
        data = storage.read(FILE)
        if data is not None:
            storage.write(name, data)
    log.warning("an experiment was in %s; its state is now in %s there", storage.path, name)
