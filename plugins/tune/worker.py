"""The actor that runs trials, one after another."""

from __future__ import annotations

import contextlib
import inspect
import os
import random
import socket
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from typing import Any

import attrs

from shoal.train.session import portable_error
from shoal.train.storage import Storage
from shoal.tune.errors import TrialStopped
from shoal.tune.output import output_to
from shoal.tune.session import Reply, Run, Session, begin_session
from shoal.tune.trainable.class_loop import ClassLoop
from shoal.tune.trainable.function_trainable import call_function
from shoal.tune.trainable.trainable import Trainable

_SLICE_SECONDS = 0.1  # after which events that nobody waits for are told
_MOST_EVENTS = 10_000  # that wait to be told; then a report waits
_ANSWER_SECONDS = 3600.0  # for which a report waits for its answer
_REPORT_SECONDS = 600.0


@attrs.frozen(kw_only=True)
class Task:
    """What a process is to run trials of."""

    trainable: Any  # a function, or a class
    name: str
    storage: Storage
    chdir: bool = True
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool = False
    reuse: bool = True
    files: tuple[str | None, str | None] = (None, None)  # that standard output and errors go to
    export_formats: tuple[str, ...] = ()


class TrialWorker:
    """Runs trials in a thread of its own, one at a time; `step` brings orders in and takes events out."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._changed = threading.Condition()
        self._queue: deque[Run] = deque()
        self._replies: dict[str, Reply] = {}
        self._events: list[tuple[Any, ...]] = []
        self._urgent = False
        self._busy = False
        self._loop: ClassLoop | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        os.environ.setdefault("TUNE_ORIG_WORKING_DIR", os.getcwd())
        self._thread = threading.Thread(target=self._run_all, name="shoal-tune", daemon=True)
        self._thread.start()

    def step(self, orders: Sequence[Run | Reply], wait: float) -> tuple[int, str, list[tuple[Any, ...]]]:
        """Take orders; return this process, its host, and what happened, when something did or after `wait` seconds."""
        with self._changed:
            for order in orders:
                if isinstance(order, Run):
                    self._queue.append(order)
                    self._busy = True
                else:
                    self._replies[order.trial_id] = order
            self._changed.notify_all()
            if not self._changed.wait_for(self._pressing, _SLICE_SECONDS) and not self._events:
                self._changed.wait_for(lambda: self._pressing() or self._events, wait)
            events, self._events = self._events, []
            self._urgent = False
            self._changed.notify_all()
        return os.getpid(), socket.gethostname(), events

    def close(self) -> None:
        """End what the last trial has left."""
        if self._loop is not None:
            self._loop.close()

    def _pressing(self) -> bool:
        return self._urgent or not self._busy

    # The thread of trials

    def _emit(self, event: tuple[Any, ...], urgent: bool) -> None:
        with self._changed:
            if len(self._events) >= _MOST_EVENTS and not self._changed.wait_for(
                lambda: len(self._events) < _MOST_EVENTS, _REPORT_SECONDS
            ):
                raise TimeoutError(f"the experiment has taken no reports for {_REPORT_SECONDS:g} s")
            self._events.append(event)
            self._urgent = self._urgent or urgent
            if urgent or len(self._events) == 1:
                self._changed.notify_all()

    def _answer(self, trial_id: str) -> Reply:
        with self._changed:
            if not self._changed.wait_for(lambda: trial_id in self._replies, _ANSWER_SECONDS):
                raise TimeoutError(f"the experiment has not answered a report for {_ANSWER_SECONDS:g} s")
            return self._replies.pop(trial_id)

    def _run_all(self) -> None:
        while True:
            with self._changed:
                self._busy = bool(self._queue)
                if not self._busy:
                    self._changed.notify_all()
                while not self._queue:
                    self._changed.wait()  # for orders; the process ends with its actor
                order = self._queue.popleft()
            self._run(order)

    def _run(self, order: Run) -> None:
        session = Session(order, self._task.storage, self._task.name, self._emit, self._answer)
        last: tuple[Any, ...] = ("left", order.trial_id)
        written = contextlib.ExitStack()
        try:
            if self._task.chdir:
                os.chdir(self._folder_of(order.dirname))
            if order.seed is not None:
                _seed_everything(order.seed)
            begin_session(session)
            written.enter_context(output_to(self._folder_of(order.dirname), self._task.files))
            if inspect.isclass(self._task.trainable) and issubclass(self._task.trainable, Trainable):
                if self._loop is None:
                    self._loop = ClassLoop(self._task)
                self._loop.run(session)
            else:
                call_function(self._task.trainable, session)
            written.close()
        except TrialStopped:
            written.close()
        except BaseException as error:  # the user's; all of it is to be told
            last = ("failed", order.trial_id, portable_error(error), _traceback_of(error))
            if any(self._task.files):
                sys.stderr.write(last[3])
            written.close()
        finally:
            begin_session(None)
            self._upload_files(order.dirname)
        self._emit(last, False)

    def _upload_files(self, dirname: str) -> None:
        """Bring the files of a trial's output to a storage that is not this machine's."""
        storage = self._task.storage
        for name in self._task.files:
            if name is not None and not storage.is_local:
                with open(os.path.join(self._folder_of(dirname), name), "rb") as file:
                    storage.write(f"{dirname}/{name}", file.read())

    def _folder_of(self, dirname: str) -> str:
        storage = self._task.storage
        if storage.is_local:
            folder = storage.at(dirname)
        else:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="shoal_trials_")
            folder = os.path.join(self._folder.name, dirname)
        os.makedirs(folder, exist_ok=True)
        return folder


def _traceback_of(error: BaseException) -> str:
    """Return the error's story without the frames of this module."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("shoal.tune."):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace or error.__traceback__))


def _seed_everything(seed: int) -> None:
    """Have a trial's random numbers follow from its seed, in the libraries that are loaded."""
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
