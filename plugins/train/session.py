"""What a worker's process knows of the run it is part of."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import queue
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import attrs

from shoal.errors import describe
from shoal.train.checkpoint import Checkpoint
from shoal.train.controller.kept import Kept
from shoal.train.controller.machine import NAME
from shoal.train.errors import SessionMisuseError
from shoal.train.memory import Keepers
from shoal.train.storage import Storage, Vanished, local_files
from shoal.train.uploads import CheckpointUploadMode

_MOST_EVENTS = 1000  # that wait for the controller; then report() waits
_MOST_UPLOADS = 2  # checkpoints that wait for the storage; then report() waits
_REPORT_SECONDS = 600.0  # for which report() waits for the controller
_MEET_SECONDS = 1800.0  # for which a rank waits for the others


@attrs.frozen(kw_only=True)
class Place:
    """Which worker of how many this is, and where."""

    world_rank: int
    world_size: int
    local_rank: int
    local_world_size: int
    node_rank: int
    nodes: Mapping[str, tuple[int, ...]]  # the ranks on each

    @property
    def node_id(self) -> str:
        """The node that this is on."""
        return next(node for node, ranks in self.nodes.items() if self.world_rank in ranks)


@attrs.frozen(kw_only=True)
class Orders:
    """What a worker is to do: the same for all ranks but for its place and its shards."""

    experiment: str
    storage: Storage
    checkpoint: Kept | None
    first_index: int
    mesh: Mapping[str, int]
    metadata: Mapping[str, Any]
    resume: Checkpoint | None = None  # what the trainer was given to begin from
    tracked: tuple[str, ...] = ()  # datasets that go on in the middle of an epoch
    keepers: Keepers | None = None  # of checkpoints in memory
    storage_frequency: int = 1  # every how-many-th report's checkpoint goes to the storage
    validates: bool = False  # whether the trainer has a validation_config


class GroupFailed(BaseException):
    """What a training function gets when another rank has failed. No error of the program's: it is told to nobody."""


@attrs.define(eq=False)
class Session:
    """One worker's part of one attempt. The training function runs in a thread of its own; actor calls in others."""

    place: Place
    orders: Orders
    shards: Mapping[str, Any]
    reports: int = 0
    meetings: int = 0
    over: bool = False
    known: list[Kept] = attrs.field(factory=list)
    statuses: dict[int, str] = attrs.field(factory=dict)  # of checkpoints that are validated, by number
    thread: threading.Thread | None = None
    fetched: dict[int, str] = attrs.field(factory=dict)  # folders of checkpoints that came from memory
    stash: dict[str, Any] = attrs.field(factory=dict)  # what integrations keep
    _events: deque[tuple[Any, ...]] = attrs.field(factory=deque)
    _changed: threading.Condition = attrs.field(factory=threading.Condition)
    _given: dict[int, Any] = attrs.field(factory=dict)
    _uploads: queue.Queue[Callable[[], None] | None] = attrs.field(
        factory=lambda: queue.Queue(maxsize=_MOST_UPLOADS)
    )
    _uploader: threading.Thread | None = None

    # For the controller

    def run(self, function: Callable[[], Any]) -> None:
        """Run the training function in a thread; the end is an event."""

        def body() -> None:
            try:
                value = function()
                self._finish_uploads()
                self._tell("finished", portable(value, "what the training function returns"))
            except BaseException as error:  # the user's; all of it is to be told
                self._tell("failed", portable_error(error), traceback.format_exc())
            finally:
                for folder in self.fetched.values():
                    shutil.rmtree(folder, ignore_errors=True)

        self.thread = threading.Thread(target=body, name="shoal-train", daemon=True)
        self.thread.start()

    def poll(self, timeout: float) -> list[tuple[Any, ...]]:
        """Wait until there are events, at most so many seconds, and take them."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self.over, timeout)
            taken = list(self._events)
            self._events.clear()
            self._changed.notify_all()
            return taken

    def give(self, number: int, value: Any) -> None:
        """Let the rank's meeting of that number go on."""
        with self._changed:
            self._given[number] = value
            self._changed.notify_all()

    def abandon(self, seconds: float) -> bool:
        """Have the training function end, as if an error came from where it is; return whether it did in time."""
        with self._changed:
            self.over = True
            self._changed.notify_all()
        thread = self.thread
        if thread is not None and thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(GroupFailed)
            )
            thread.join(seconds)
            if thread.is_alive():
                return False
        if self._uploader is not None:
            with contextlib.suppress(queue.Full):
                self._uploads.put_nowait(None)
        return True

    def stack(self) -> str:
        """Return where the training function is."""
        frame = sys._current_frames().get(self.thread.ident or 0) if self.thread is not None else None
        return "".join(traceback.format_stack(frame)) if frame is not None else "  (it does not run)"

    # For the training function

    def report(
        self,
        metrics: Mapping[str, Any],
        checkpoint: Checkpoint | None,
        name: str | None,
        mode: CheckpointUploadMode,
        delete_after: bool,
        upload: Callable[[Checkpoint, str], Checkpoint] | None,
        validation: Any,
    ) -> None:
        """Tell the controller of metrics and a checkpoint. See `shoal.train.report`."""
        index = self.reports
        path = None
        if validation and not self.orders.validates:
            raise ValueError("validation= needs the trainer's validation_config")
        portable(metrics, "what is reported")
        number = self.orders.first_index + index
        name_of = name or NAME.format(number)
        keepers = self.orders.keepers if mode is not CheckpointUploadMode.NO_UPLOAD else None
        holds = checkpoint is not None and keepers is not None
        saves = checkpoint is not None and (not holds or (number + 1) % self.orders.storage_frequency == 0)
        work: Callable[[], None] | None = None
        if checkpoint is not None:
            if mode is CheckpointUploadMode.NO_UPLOAD:
                path = checkpoint.path
            else:
                work = self._upload_of(checkpoint, name_of, mode, delete_after, upload) if saves else None
        data = {name: self.shards[name].progress() for name in self.orders.tracked}
        self._tell("reported", dict(metrics), saves, name, path, validation, data, holds)
        self.reports += 1
        if checkpoint is None:
            return
        if keepers is not None:
            with checkpoint.as_directory() as folder:
                keepers.save(folder, number, self.place.world_rank, self.place.node_id)
            self._tell("held", index)
            if not saves:
                if delete_after and upload is None:
                    shutil.rmtree(checkpoint.path, ignore_errors=True)
                return
        if work is None:
            self._tell("saved", index)
        elif mode is CheckpointUploadMode.SYNC or (
            mode is CheckpointUploadMode.STAGED and self.orders.storage.is_local
        ):
            work()
            self._tell("saved", index)
        else:
            self._later(work, index)

    def keep_trace(self, profile: Any) -> None:
        """Take a profiler's trace to the run's folder, in the background. Raises TypeError, FileNotFoundError."""
        folder = tempfile.mkdtemp(prefix="shoal_trace_")
        name = f"report_{self.orders.first_index + self.reports - 1:06d}_rank{self.place.world_rank}"
        try:
            if isinstance(profile, (str, os.PathLike)):
                file = os.fspath(profile)
                endings = "".join(pathlib.PurePath(file).suffixes[-2:]) or ".json"
                shutil.copyfile(file, os.path.join(folder, name + endings))
            elif callable(getattr(profile, "export_chrome_trace", None)):
                profile.export_chrome_trace(os.path.join(folder, name + ".json"))
            else:
                raise TypeError(
                    f"profile must be a torch.profiler.profile or the path of a trace, not {describe(profile)}"
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

        def work() -> None:
            try:
                self.orders.storage.upload(folder, "traces")
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        self._enqueue(work)

    def meet(self, value: Any, gathers: bool = False) -> Any:
        """Wait until all ranks are here; return rank 0's value, or a list of all. Raises TimeoutError."""
        number = self.meetings
        self.meetings += 1
        self._tell("joined", number, value if gathers or self.place.world_rank == 0 else None, gathers)
        with self._changed:
            if not self._changed.wait_for(lambda: number in self._given or self.over, _MEET_SECONDS):
                raise TimeoutError(f"not all ranks came to the meeting {number} within {_MEET_SECONDS:g} s")
            if number not in self._given:
                raise GroupFailed
            return self._given.pop(number)

    def note(self, known: list[Kept], statuses: Mapping[int, str]) -> None:
        """Know the run's checkpoints."""
        with self._changed:
            self.known, self.statuses = list(known), dict(statuses)
            self._changed.notify_all()

    def wait_validated(self, timeout: float | None) -> None:
        """Wait until no checkpoint that is kept is being validated, at most so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: "pending_validation" not in self.statuses.values(), timeout)

    def checkpoint_of(self, kept: Kept) -> Checkpoint:
        """Return a checkpoint of the run."""
        storage = self.orders.storage
        if kept.parts:
            assert self.orders.keepers is not None
            if kept.index not in self.fetched:
                self.fetched[kept.index] = self.orders.keepers.fetch(kept.index)
            return Checkpoint(self.fetched[kept.index])
        return Checkpoint(kept.path or storage.at(kept.name), storage.filesystem)

    def _tell(self, *event: Any) -> None:
        with self._changed:
            if self.over:  # nobody listens any more
                return
            if not self._changed.wait_for(lambda: len(self._events) < _MOST_EVENTS, _REPORT_SECONDS):
                raise TimeoutError(f"the run's controller has taken no reports for {_REPORT_SECONDS:g} s")
            self._events.append((*event, time.time()))
            self._changed.notify_all()

    # Uploads

    def _upload_of(
        self,
        checkpoint: Checkpoint,
        name: str,
        mode: CheckpointUploadMode,
        delete_after: bool,
        upload: Callable[[Checkpoint, str], Checkpoint] | None,
    ) -> Callable[[], None]:
        storage = self.orders.storage
        folder = checkpoint.path
        remote = getattr(checkpoint.filesystem, "type_name", "") != "local"
        # What is there now is the checkpoint: a folder that is being deleted later is not one with fewer files.
        files = None if remote or upload is not None else local_files(folder)
        staged = ""
        if mode is CheckpointUploadMode.STAGED and not storage.is_local and upload is None and not remote:
            staged = tempfile.mkdtemp(prefix="shoal_checkpoint_")
            shutil.copytree(folder, staged, dirs_exist_ok=True)

        def work() -> None:
            try:
                if upload is not None:
                    made = upload(checkpoint, name)
                    if made.path != storage.at(name):
                        raise ValueError(
                            f"checkpoint_upload_fn must upload to {storage.at(name)}, not to {made.path}"
                        )
                elif remote:
                    with checkpoint.as_directory() as copy:
                        storage.upload(copy, name)
                elif os.path.realpath(folder) != os.path.realpath(storage.at(name)):
                    storage.upload(staged or folder, name, files)
            finally:
                if staged:
                    shutil.rmtree(staged, ignore_errors=True)
            if delete_after and upload is None and not remote:
                shutil.rmtree(folder, ignore_errors=True)

        return work

    def _later(self, work: Callable[[], None], index: int) -> None:
        def job() -> None:
            work()
            self._tell("saved", index)

        self._enqueue(job)

    def _enqueue(self, job: Callable[[], None]) -> None:
        if self._uploader is None:
            self._uploader = threading.Thread(target=self._upload_all, name="shoal-uploads", daemon=True)
            self._uploader.start()
        self._uploads.put(job)

    def _upload_all(self) -> None:
        while (job := self._uploads.get()) is not None:
            try:
                job()
            except Exception as error:  # the storage's, or a folder that vanished
                self._tell("failed", portable_error(error), traceback.format_exc())

    def _finish_uploads(self) -> None:
        if self._uploader is not None:
            self._uploads.put(None)
            self._uploader.join()


_session: Session | None = None  # a process is one rank of one run


def begin_session(session: Session | None) -> None:
    """Make this the process's session."""
    global _session
    _session = session


def session_here(what: str) -> Session:
    """Return this worker's session. Raises SessionMisuseError naming what was called outside of one.

    Example: `session_here("train.report()")`
    """
    if _session is None:
        raise SessionMisuseError(
            f"{what} works in the function that a trainer runs; this process is no worker of a run"
        )
    return _session


def try_session() -> Session | None:
    """Return this worker's session, None outside of one."""
    return _session


class Trial(Protocol):
    """What else may be reported to: a trial of shoal.tune, in whose process no trainer runs."""

    def report(self, metrics: Mapping[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        """Take a report."""

    def get_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint that the trial goes on from."""

    def get_context(self) -> Any:
        """Return which trial it is."""


_trial: Trial | None = None


def begin_trial(trial: Trial | None) -> None:
    """Let `train.report`, `get_checkpoint` and `get_context` be a trial's where this process is no worker of a run."""
    global _trial
    _trial = trial


def trial_here() -> Trial | None:
    """Return the trial that this process runs; None outside of one, and in a trainer's worker."""
    return _trial if _session is None else None


def check_metrics(metrics: Any) -> Mapping[str, Any]:
    """Return metrics. Raises TypeError for what is no mapping from text.

    Example: `check_metrics({"loss": 1.0})`
    """
    if not isinstance(metrics, Mapping) or not all(isinstance(name, str) for name in metrics):
        raise TypeError(f"metrics must be a mapping from names to values, not {describe(metrics)}")
    return metrics


_PLAIN = (int, float, str, bool, bytes, type(None))


def portable(value: Any, what: str) -> Any:
    """Return a value that can be sent. Raises TypeError naming what cannot.

    Example: `portable({"loss": 0.5}, "what is reported")`
    """
    parts = value.values() if isinstance(value, Mapping) else [value]
    if not all(isinstance(part, _PLAIN) for part in parts):
        import cloudpickle

        try:
            cloudpickle.dumps(value)
        except Exception as error:  # a stranger's __reduce__ may raise anything
            raise TypeError(f"{what} cannot be pickled: {describe(value)}: {error}") from error
    return value


def portable_error(error: BaseException) -> Exception:
    """Return an error that can be sent: itself, or one with its text."""
    import cloudpickle

    try:
        again = cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # a stranger's __reduce__ may raise anything
        again = None
    if isinstance(again, Exception):
        return again
    return RuntimeError(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def no_vanishing() -> Iterator[None]:
    """Say what to do when a checkpoint's folder is gone."""
    try:
        yield
    except Vanished as error:
        raise FileNotFoundError(
            f"{error}: report() needs a checkpoint's folder until it returns, with CheckpointUploadMode.ASYNC until "
            "the upload is over"
        ) from error
