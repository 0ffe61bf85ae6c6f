"""The shell around the controller: processes for trials, the state on disk. Runs where `fit()` was called."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs

import shoal
from shoal.errors import ShoalError
from shoal.tune.callback import CallbackList
from shoal.tune.controller.events import (
    Action,
    Answer,
    Changed,
    Discard,
    Event,
    Failed,
    Halt,
    Kill,
    Left,
    Lost,
    Over,
    Record,
    Reported,
    Saved,
    Say,
    Tell,
    Tick,
)
from shoal.tune.controller.machine import Controller
from shoal.tune.controller.slots import Slot, Slots
from shoal.tune.errors import TuneError
from shoal.tune.experiment.trial import Trial
from shoal.tune.session import Reply, Run
from shoal.tune.state import ExperimentFile
from shoal.tune.worker import Task

log = logging.getLogger("shoal.tune")

_STEP_SECONDS = 5.0  # for which a process keeps a question before it answers that nothing happened
_TICK_SECONDS = 0.5
_ROUND_SECONDS = 0.05  # that a round of several trials in one process is to last
_MOST_A_ROUND = 256
_STALL_SECONDS = 60.0  # for which nothing runs though trials wait


@attrs.frozen(kw_only=True)
class Job:
    """What the shell needs beside the controller."""

    name: str
    task: Task
    limit: int | None  # of trials at once
    shares: bool  # whether several trials may be given to a process at once
    reuse: bool | None
    waits: bool  # whether a trial waits for an answer to each report
    seed: int | None = None  # of trials' random numbers
    environment: Any = None
    in_turns: bool = False  # whether what trials tell is handled in an order that does not depend on time


class Shell:
    """Leads one experiment to its end."""

    def __init__(
        self,
        job: Job,
        machine: Controller,
        file: ExperimentFile,
        callbacks: CallbackList,
        watch: Callable[[], None] | None = None,
    ) -> None:
        self._job = job
        self._machine = machine
        self._file = file
        self._callbacks = callbacks
        self._watch = watch  # called in each turn
        self._slots = Slots(job.task, job.limit, job.environment)
        self._slot_of: dict[str, Slot] = {}
        self._round = 0
        self._cost = math.inf  # seconds a trial takes, as measured
        self._begun: dict[str, float] = {}
        self._idle_since: float | None = None
        self._told: dict[str, list[Event]] = {}  # what trials have told in this turn, with `in_turns`
        self._turn_over = True
        self.interrupted = threading.Event()  # set by another thread that was, for the one that leads

    def lead(self) -> BaseException | None:
        """Lead the experiment; return what ended it, None if it went well. Nothing of it runs any more then."""
        try:
            try:
                while not self._machine.finished:
                    if self.interrupted.is_set():
                        raise KeyboardInterrupt
                    self._turn()
            except KeyboardInterrupt:
                self._do(
                    self._machine.handle(
                        Halt(
                            "interrupted: the trials that ran go on with Tuner.restore()", KeyboardInterrupt()
                        )
                    )
                )
            self._write()
            return self._machine.error
        finally:
            self._slots.end(graceful=self._machine.error is None and not self._machine.over)

    def _turn(self) -> None:
        self._round += 1
        self._tell("on_step_begin")
        if not self._job.in_turns or self._turn_over:
            self._fill()
            self._turn_over = not self._machine.placed
        # What a trial waits for is written down before it is told; beginnings while the processes are at work.
        early = all(type(order) is Run for slot in self._slots.all() for order in slot.orders)
        if early:
            self._send()
        self._write()
        if not early:
            self._send()
        for event in self._in_turns(self._events()) if self._job.in_turns else self._events():
            self._do(self._machine.handle(event))
        self._tell("on_step_end")
        if self._watch is not None:
            self._watch()

    def _tell(self, method: str, **info: Any) -> None:
        if self._callbacks:
            self._callbacks.tell(method, iteration=self._round, trials=self._machine.trials, **info)

    # Starting

    def _fill(self) -> None:
        """Give free processes trials, as long as there are any."""
        refused: list[Trial] = []
        self._machine.nodes_have = self._slots.nodes_have()
        while not self._machine.over and self._slots.has_room():
            trial = self._machine.next_trial()
            self._do(self._machine.take())
            if trial is None:
                break
            resources = self._machine.resources_of_trial(trial)
            slot = self._slots.take(resources, fresh=trial.trial_id in self._machine.alone)
            if slot is None:
                refused.append(trial)
                continue
            self._launch(slot, trial)
            for _ in range(self._share(trial) - 1):
                more = self._machine.next_trial()
                self._do(self._machine.take())
                if more is None:
                    break
                if more.trial_id in self._machine.alone:
                    self._machine.put_back(more)
                    break
                self._launch(slot, more)
        for trial in refused:
            self._machine.put_back(trial)
        if self._machine.stalled and not refused:
            self._stalled()
        else:
            self._idle_since = None

    def _share(self, trial: Trial) -> int:
        """Return how many trials a process is given at once: as many as a short round holds."""
        if not self._job.shares or trial.trial_id in self._machine.alone or self._cost == math.inf:
            return 1
        return max(1, min(_MOST_A_ROUND, int(_ROUND_SECONDS / max(self._cost, 1e-6))))

    def _stalled(self) -> None:
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        if now - self._idle_since > _STALL_SECONDS:
            waiting = ", ".join(each.trial_id for each in list(self._machine.get_live_trials())[:5])
            self._do(
                self._machine.handle(
                    Halt(
                        "the experiment stands still",
                        TuneError(
                            f"the scheduler has started nothing for {_STALL_SECONDS:g} s while trials wait: {waiting}"
                        ),
                    )
                )
            )

    def _launch(self, slot: Slot, trial: Trial) -> None:
        newest = trial.checkpoint
        path = trial.restore_path
        if path is None and newest is not None:
            path = newest.path or f"{trial.dirname}/{newest.name}"
        if path is not None:
            path = self._job.task.storage.at(path)  # what is absolute stays so
        seed = self._job.seed
        slot.trials[trial.trial_id] = trial
        slot.orders.append(
            Run(
                trial_id=trial.trial_id,
                config=trial.config,
                dirname=trial.dirname,
                experiment=self._job.name,
                tag=trial.experiment_tag,
                iteration=self._machine.start_iteration(trial),
                checkpoint=path,
                next_index=trial.next_index,
                waits=self._job.waits,
                seed=None if seed is None else (seed * 1_000_003 + trial.number) % 2**32,
                resources=slot.resources,
            )
        )
        self._slot_of[trial.trial_id] = slot
        self._begun[trial.trial_id] = time.monotonic()

    # Actions

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Answer():
                    slot = self._slot_of.get(action.trial.trial_id)
                    if slot is not None:
                        slot.orders.append(Reply(action.trial.trial_id, action.decision, action.save))
                case Record():
                    self._file.put_report(action.trial, action.result)
                case Changed():
                    self._file.put_trial(action.trial)
                    if action.trial.status == Trial.ERROR:
                        for name, data in action.trial.error_files().items():
                            self._job.task.storage.write(name, data)
                case Kill():
                    self._kill(action.trial)
                case Discard():
                    # After it is written down that the checkpoint is none any more.
                    self._file.put_trial(action.trial)
                    self._file.commit()
                    if action.kept.path is None:
                        self._job.task.storage.delete(f"{action.trial.dirname}/{action.kept.name}")
                case Tell():
                    self._tell(action.method, trial=action.trial, **action.extra)
                case Say():
                    log.warning("%s: %s", self._job.name, action.text)
                case Over():
                    self._slots.end(graceful=False)
                    self._slot_of.clear()

    def _write(self) -> None:
        self._file.commit()

    def _kill(self, trial: Trial) -> None:
        slot = self._slot_of.pop(trial.trial_id, None)
        if slot is None:
            return
        others = [each for each in slot.trials if each != trial.trial_id]
        for trial_id in slot.trials:
            self._slot_of.pop(trial_id, None)
        self._slots.drop(slot)
        self._do(self._machine.handle(Left(trial.trial_id)))
        if others:
            self._do(self._machine.handle(Lost(others, "it was ended for another trial that it ran")))

    # Events

    def _send(self) -> None:
        for slot in self._slots.all():
            if not slot.orders and self._waits_for_others(slot):
                continue  # a question that is under way would keep the answer back
            if slot.ref is None and (slot.orders or slot.trials):
                orders, slot.orders = slot.orders, []
                slot.ref = slot.actor.step.remote(orders, _STEP_SECONDS)
                slot.sent = time.monotonic()

    def _waits_for_others(self, slot: Slot) -> bool:
        """Whether a process's trial has reported in this turn, so that it has nothing to tell until it is answered."""
        return any(isinstance(each, Reported) for name in slot.trials for each in self._told.get(name, ()))

    def _events(self) -> Iterator[Event]:
        refs = {slot.ref: slot for slot in self._slots.all() if slot.ref is not None}
        if refs:
            ready, _ = shoal.wait(list(refs), num_returns=1, timeout=_TICK_SECONDS)
            if ready and len(refs) > 1:
                ready, _ = shoal.wait(list(refs), num_returns=len(refs), timeout=0)
            for ref in ready:
                yield from self._take(refs[ref], ref)
        elif not self._machine.finished:
            time.sleep(0.01)  # nothing runs and nothing may: a resource or another trial's process is awaited
        yield Tick(time.time())

    def _in_turns(self, events: Iterator[Event]) -> Iterator[Event]:
        """Hold back what trials tell until each that has a process has reported or left; then give it by trial."""
        for event in events:
            if isinstance(event, (Reported, Saved, Left, Failed)):
                self._told.setdefault(event.trial_id, []).append(event)
            else:
                yield event
        done = {
            name for name, told in self._told.items() if any(not isinstance(each, Saved) for each in told)
        }
        if not self._machine.placed or not self._machine.placed.keys() <= done:
            return
        told, self._told = self._told, {}
        self._turn_over = True
        for trial_id in sorted(told):  # names end with numbers of the same length
            yield from told[trial_id]

    def _take(self, slot: Slot, ref: Any) -> Iterator[Event]:
        if slot.ref is not ref:
            return  # it was ended meanwhile
        slot.ref = None
        try:
            pid, host, told = shoal.get(ref)
        except ShoalError as error:
            yield from self._died(slot, error)
            return
        ended = 0
        for name, trial_id, *parts in told:
            if name == "reported":
                metrics, now, spent, checkpoint, path, waits = parts
                yield Reported(trial_id, metrics, now, spent, checkpoint, path, waits, pid, host)
            elif name == "saved":
                yield Saved(trial_id, parts[0])
            else:
                ended += 1
                slot.trials.pop(trial_id, None)
                self._slot_of.pop(trial_id, None)
                begun = self._begun.pop(trial_id, None)
                yield Left(trial_id) if name == "left" else Failed(trial_id, parts[0], parts[1])
                if begun is not None and not slot.trials:
                    self._note_cost(slot, ended, begun)
        if not slot.trials and not slot.orders:
            self._slots.give_back(slot, self._again(slot))

    def _note_cost(self, slot: Slot, ended: int, begun: float) -> None:
        """Know what a trial takes, from the time between a question and its answer; the newest count most."""
        spent = (time.monotonic() - (slot.sent if ended > 1 else begun)) / ended
        self._cost = spent if self._cost == math.inf else 0.7 * self._cost + 0.3 * spent

    def _again(self, slot: Slot) -> bool:
        """Whether the next trial may have this process: where trials are short, unless it was said."""
        if self._job.reuse is not None:
            return self._job.reuse
        return self._cost < _LONG_SECONDS

    def _died(self, slot: Slot, error: ShoalError) -> Iterator[Event]:
        lost = list(slot.trials)
        for trial_id in lost:
            self._slot_of.pop(trial_id, None)
            self._begun.pop(trial_id, None)
        self._slots.drop(slot)
        if len(lost) == 1:
            yield Failed(lost[0], error, f"the trial's process died: {error}")
        elif lost:
            yield Lost(lost, str(error))


# A trial that takes longer has a process of its own. A new process imports everything again, which may be seconds.
_LONG_SECONDS = 30.0
