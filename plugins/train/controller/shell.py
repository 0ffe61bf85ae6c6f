"""The shell around the controller: carries its actions out, tells it what happens. Runs where `fit()` was called."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

import shoal
from shoal.errors import ActorError, ConfigError, PluginError, ShoalError
from shoal.train.backend import BackendConfig
from shoal.train.callbacks import Callbacks
from shoal.train.checkpoint import Checkpoint
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.controller.events import (
    Action,
    AskStacks,
    Begun,
    Commit,
    Deliver,
    Discard,
    End,
    Event,
    Fail,
    Failed,
    Finished,
    Held,
    Hold,
    Joined,
    Leaving,
    Record,
    Refused,
    Reported,
    Room,
    Saved,
    Say,
    Stacks,
    Start,
    Succeed,
    Tick,
)
from shoal.train.controller.kept import Kept
from shoal.train.controller.machine import Controller
from shoal.train.controller.records import Records
from shoal.train.controller.validating import Validating
from shoal.train.data import DataConfig
from shoal.train.errors import PreemptionInfo, TrainingFailedError
from shoal.train.group import CALL_SECONDS, Placer, WorkerGroup, get_within, room_for
from shoal.train.memory import Keepers, lacking
from shoal.train.reporting import Reporter
from shoal.train.session import Orders
from shoal.train.storage import Storage
from shoal.train.validation import ValidationConfig

log = logging.getLogger("shoal.train")

_POLL_SECONDS = 5.0  # for which a worker keeps a question before it answers that nothing happened
_TICK_SECONDS = 0.5
_NODES_SECONDS = 0.5  # between two looks at which nodes will go
_GATHER_SECONDS = 0.2  # after a rank's failure, for those of the others: one death makes all fail
_STACK_SECONDS = 5.0
_PRELOAD = ("shoal.train.worker", "pyarrow.fs")  # what each worker needs, whatever the framework


@attrs.frozen(kw_only=True)
class Job:
    """All that a run is given."""

    name: str
    storage: Storage
    scaling: ScalingConfig
    run: RunConfig
    payload: Any  # a reference to the training function and its configuration
    backend: BackendConfig
    datasets: Mapping[str, Any]
    data: DataConfig
    metadata: Mapping[str, Any]
    resume: Checkpoint | None
    validation: ValidationConfig | None


class Shell:
    """Leads one run to its end."""

    def __init__(self, job: Job, records: Records, callbacks: Callbacks) -> None:
        self._job = job
        self._records = records
        self._callbacks = callbacks
        self._machine = Controller(job.scaling, job.run, records.kept())
        environment = dict(job.run.worker_runtime_env or {})
        environment["preload"] = [*environment.get("preload", []), *_PRELOAD, *job.backend.preload]
        self._placer = Placer(job.scaling, environment, log.warning)
        self._backend = job.backend.backend_cls()
        self._group: WorkerGroup | None = None
        self._polls: dict[Any, int] = {}
        self._events: deque[Event] = deque()
        self._validating = Validating(job.validation)
        self._lost: set[int] | None = None  # ranks that a failure came from, None if nobody knows
        self._outcome: Succeed | Fail | None = None
        self._looked = 0.0  # for room, when last
        self._asked = 0.0  # which nodes will go, when last
        self._notes: list[Any] = []  # calls whose results nobody waits for
        self._keepers = Keepers()
        self._reporter = Reporter(job.name, job.storage.path)

    def lead(self) -> Succeed | Fail:
        """Lead the run; return how it ended. Nothing of it runs any more then."""
        actions: deque[Action] = deque(self._machine.begin())
        try:
            while self._outcome is None:
                while actions and self._outcome is None:
                    self._do(actions.popleft())
                if self._outcome is None:
                    for event in self._next():
                        actions.extend(self._machine.handle(event))
            self._finish_validating()
            self._write_memory()
            self._records.clean(self._machine.kept.all)
            return self._outcome
        finally:
            ended = self._outcome or Fail(RuntimeError("whoever led the run could not go on"))
            self._reporter.ended(self._machine.statistics(), error_of(ended))
            self._end(graceful=False)
            self._placer.free()
            self._keepers.end()

    # Actions

    def _do(self, action: Action) -> None:
        match action:
            case Start():
                self._start(action)
            case End():
                self._end(action.graceful, keep=self._machine.phase != "over")
            case Record():
                self._record(action)
            case Commit():
                self._commit(action)
            case Hold():
                self._tell_known()
                self._notes += self._keepers.forget(action.kept.index)
            case Discard():
                self._records.forget(action.kept, self._machine.kept.all)
                self._tell_known()
            case Deliver():
                self._notes = [
                    worker.actor.deliver.remote(action.number, action.value) for worker in self._running()
                ]
            case AskStacks():
                self._events.append(Stacks(self._stacks()))
            case Say():
                log.warning("%s: %s", self._job.name, action.text)
                self._reporter.say(action.text)
            case Succeed() | Fail():
                self._outcome = action

    def _start(self, action: Start) -> None:
        job = self._job
        kept = action.checkpoint
        if kept is not None and lacking(self._keepers.holders(kept.index) if kept.parts else {}, kept.parts):
            log.warning("%s: %s was in the memory of processes that are gone", job.name, kept.name)
            action = attrs.evolve(action, checkpoint=self._machine.lose_memory())
        if action.attempt > 1:
            self._records.begin_again(action.checkpoint, self._machine.kept.all)
        try:
            self._group = group = self._placer.start()
            if job.run.checkpoint_config.in_memory:
                self._keepers = self._keepers.with_nodes([each.metadata.node_id for each in group.workers])
            mesh = job.scaling.mesh(len(group)) if job.scaling.parallel else {"dp": len(group)}
            shards, positions = self._shards(action.checkpoint, group, mesh)
            orders = Orders(
                experiment=job.name,
                storage=job.storage,
                checkpoint=action.checkpoint and attrs.evolve(action.checkpoint, data=None),
                first_index=action.first_index,
                mesh=mesh,
                metadata=job.metadata,
                resume=job.resume,
                tracked=tuple(positions),
                keepers=self._keepers if self._keepers.actors else None,
                storage_frequency=job.run.checkpoint_config.storage_frequency,
                validates=job.validation is not None,
            )
            prepared = [
                worker.actor.prepare.remote(
                    worker.metadata.place,
                    orders,
                    shards[rank] if shards else {},
                    self._known(),
                )
                for rank, worker in enumerate(group.workers)
            ]
            shoal.get(prepared, timeout=CALL_SECONDS)
            self._backend.on_start(group, job.backend)
            self._backend.on_training_start(group, job.backend)
            wrap = job.backend.train_func_context
            shoal.get([worker.actor.begin.remote(job.payload, wrap) for worker in group.workers])
        except (ConfigError, PluginError) as error:
            self._end(graceful=False)
            self._events.append(Refused(error))
            return
        except Exception as error:  # the user's code in a backend, or a worker's death
            self._end(graceful=False, keep=True)
            text = f"the workers could not begin: {type(error).__name__}: {error}"
            self._events.append(Failed({0: error}, text))
            return
        self._polls = {
            worker.actor.poll.remote(_POLL_SECONDS): rank for rank, worker in enumerate(group.workers)
        }
        self._looked = time.monotonic()
        self._events.append(Begun(len(group), time.time(), positions))

    def _shards(
        self, checkpoint: Kept | None, group: WorkerGroup, mesh: Mapping[str, int]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return each rank's parts of the datasets, and where those begin that go on in the middle of an epoch."""
        job = self._job
        if not job.datasets:
            return [], {}
        known = checkpoint.data if checkpoint is not None else None
        positions = job.data.positions(job.datasets, known)
        actors = [worker.actor for worker in group.workers]
        nodes = [worker.metadata.node_id for worker in group.workers]
        shards = job.data.configure(job.datasets, len(group), actors, nodes, mesh=mesh, positions=positions)
        # A DataConfig of the program's own may have dealt otherwise, or from elsewhere on.
        return shards, {
            name: start
            for name, start in positions.items()
            if all(getattr(shard.get(name), "start", None) == start for shard in shards)
        }

    def _end(self, graceful: bool, keep: bool = False) -> None:
        group, self._group, self._polls = self._group, None, {}
        if group is None:
            return
        if graceful:
            with contextlib.suppress(Exception):  # what it is for is over
                self._backend.on_shutdown(group, self._job.backend)
        lost, self._lost = self._lost, None
        living = group.survivors(lost, self._job.backend.reset) if keep and lost is not None else {}
        self._placer.keep(group.end(keep, living), len(group), living)

    def _record(self, action: Record) -> None:
        metrics = [dict(each) for each in action.metrics]
        self._records.add(action.index, metrics[0])
        self._reporter.report(metrics[0])
        if self._job.run.verbose > 1:
            log.info("%s: report %d: %s", self._job.name, action.index, metrics[0])
        if self._job.run.progress_reporter is not None:
            self._job.run.progress_reporter(action.index, metrics[0])
        if self._callbacks:
            storage = self._job.storage
            checkpoint = (
                Checkpoint(storage.at(action.checkpoint), storage.filesystem) if action.checkpoint else None
            )
            self._callbacks.tell("after_report", metrics, checkpoint)

    def _commit(self, action: Commit) -> None:
        if action.validation is not None:
            self._validating.begin(action.kept, self._checkpoint(action.kept), action.validation)
        self._records.save(self._machine.kept.all)
        self._tell_known()

    def _checkpoint(self, kept: Kept) -> Checkpoint:
        storage = self._job.storage
        return Checkpoint(kept.path or storage.at(kept.name), storage.filesystem)

    def _tell_known(self) -> None:
        self._notes = [
            worker.actor.note.remote(self._known(), self._validating.statuses) for worker in self._running()
        ]

    def _known(self) -> list[Kept]:
        """The checkpoints as workers know them: where the datasets were is the controller's affair."""
        known = list(self._machine.kept.all)
        if (newest := self._machine.newest) is not None and newest.parts:
            known.append(newest)
        return [attrs.evolve(each, data=None) for each in known]

    def _write_memory(self) -> None:
        """Take the newest checkpoint to the storage, if it is in memory only."""
        newest = self._machine.newest
        if newest is None or not newest.parts or lacking(self._keepers.holders(newest.index), newest.parts):
            return
        folder = self._keepers.fetch(newest.index)
        try:
            self._job.storage.upload(folder, newest.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        for gone in self._machine.kept.add(attrs.evolve(newest, path=None, parts=())):
            self._records.forget(gone, self._machine.kept.all)
        self._records.save(self._machine.kept.all)

    def _running(self) -> Iterable[Any]:
        return self._group.workers if self._group is not None else ()

    def _ranks(self) -> list[list[Any]]:
        """Where each rank is, and how far."""
        return [
            [rank, each.info.hostname, each.info.pid, ", ".join(each.info.devices), reports]
            for rank, (each, reports) in enumerate(
                zip([worker.metadata for worker in self._running()], self._machine.counts(), strict=False)
            )
        ]

    def _stacks(self) -> dict[int, str]:
        refs = [worker.actor.stack.remote() for worker in self._running()]
        found = [get_within(ref, _STACK_SECONDS) for ref in refs]
        return {rank: text for rank, text in enumerate(found) if text is not None}

    # Events

    def _next(self) -> Iterator[Event]:
        while self._events:
            yield self._events.popleft()
        if not self._polls:
            return
        ready, _ = shoal.wait(list(self._polls), num_returns=1, timeout=_TICK_SECONDS)
        if ready:
            ready, _ = shoal.wait(list(self._polls), num_returns=len(self._polls), timeout=0)
        failures: dict[int, tuple[Exception, str]] = {}
        found = [event for ref in ready for event in self._take(ref, failures)]
        yield from found
        if failures:
            yield self._failure(failures)
            return
        self._records.beat()
        self._reporter.running(self._machine.statistics(), self._ranks())
        if self._validating.look(self._machine.kept):
            self._records.save(self._machine.kept.all)
            self._tell_known()
        yield Tick(time.time())
        yield from self._leaving()
        yield from self._room()

    def _take(self, ref: Any, failures: dict[int, tuple[Exception, str]]) -> list[Event]:
        rank = self._polls.pop(ref, None)
        if rank is None or self._group is None:
            return []
        try:
            told = shoal.get(ref)
        except ShoalError as error:
            failures[rank] = (error, str(error))
            return []
        events: list[Event] = []
        for name, *parts, now in told:
            if name == "failed":
                failures.setdefault(rank, (parts[0], parts[1]))
                return events
            events.append(_event(name, rank, parts, now))
        self._polls[self._group.workers[rank].actor.poll.remote(_POLL_SECONDS)] = rank
        return events

    def _failure(self, failures: dict[int, tuple[Exception, str]]) -> Failed:
        """Put together why the group failed: a death or the first error, with what the others say after it."""
        deadline = time.monotonic() + _GATHER_SECONDS
        while self._polls and (left := deadline - time.monotonic()) > 0:
            ready, _ = shoal.wait(list(self._polls), num_returns=1, timeout=left)
            for ref in ready:
                self._take(ref, failures)
        died = [rank for rank, (error, _) in failures.items() if isinstance(error, ActorError)]
        first = died[0] if died else next(iter(failures))
        others = sorted(failures.keys() - {first})
        text = f"rank {first}: {self._says(first, failures[first])}"
        if others:
            text += f"\nThen ranks {', '.join(map(str, others))} failed; rank {others[0]}: {failures[others[0]][1]}"
        errors = {rank: error for rank, (error, _) in failures.items()}
        self._lost = {first, *died}
        self._callbacks.tell("after_exception", errors)
        return Failed(
            {first: errors[first], **errors}, text, announced=bool(died) and self._is_leaving(first)
        )

    def _says(self, rank: int, failure: tuple[Exception, str]) -> str:
        error, trace = failure
        if isinstance(error, ActorError):
            assert self._group is not None
            info = self._group.workers[rank].metadata.info
            return f"its process {info.pid} on {info.address} died: {error}"
        return f"{type(error).__name__}: {error}\n{trace}"

    def _is_leaving(self, rank: int) -> bool:
        assert self._group is not None
        node = self._group.workers[rank].metadata.node_id
        return any(each["NodeID"] == node and each.get("Draining") for each in shoal.nodes())

    def _leaving(self) -> Iterator[Event]:
        """Look whether nodes of the group will go away, if that is to be acted on."""
        if self._job.run.failure_config.preemption_grace_s is None or self._group is None:
            return
        if time.monotonic() - self._asked < _NODES_SECONDS:
            return
        self._asked = time.monotonic()
        ranks: dict[str, list[int]] = {}
        for rank, worker in enumerate(self._group.workers):
            ranks.setdefault(worker.metadata.node_id, []).append(rank)
        leaving = {node["NodeID"] for node in shoal.nodes() if node.get("Draining")}
        if gone := {node: there for node, there in ranks.items() if node in leaving}:
            yield Leaving(PreemptionInfo(None, gone), time.time())

    def _room(self) -> Iterator[Event]:
        scaling = self._job.scaling
        if not scaling.elasticity_enabled or self._group is None or len(self._group) >= scaling.max_workers:
            return
        if time.monotonic() - self._looked >= scaling.elastic_resize_monitor_interval_s:
            self._looked = time.monotonic()
            yield Room(len(self._group) + room_for(scaling, shoal.nodes(), "Available"))

    def _finish_validating(self) -> None:
        while self._validating.pending:
            self._validating.wait(_TICK_SECONDS)
            self._validating.look(self._machine.kept)
        self._records.save(self._machine.kept.all)


def _event(name: str, rank: int, parts: list[Any], now: float) -> Event:
    if name == "reported":
        metrics, saves, folder, path, validation, data, holds = parts
        return Reported(rank, metrics, saves, now, folder, path, validation, data, holds)
    if name == "held":
        return Held(rank, parts[0])
    if name == "saved":
        return Saved(rank, parts[0])
    if name == "joined":
        return Joined(rank, parts[0], parts[1], parts[2])
    return Finished(rank, parts[0], now)


def error_of(outcome: Succeed | Fail) -> Exception | None:
    """Return what ended a run, None if it went well; errors of others are told as a TrainingFailedError's cause."""
    if isinstance(outcome, Succeed):
        return None
    if isinstance(outcome.error, (TrainingFailedError, ConfigError)):
        return outcome.error
    error = TrainingFailedError(str(outcome.error))
    error.__cause__ = outcome.error
    return error


Lead = Callable[[Job, Records, Callbacks], "Succeed | Fail"]
