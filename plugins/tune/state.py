"""An experiment's state: one SQLite file, written in transactions, from which the experiment goes on after any end."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError
from shoal.train.config import CheckpointConfig
from shoal.train.controller.kept import Kept, KeptCheckpoints
from shoal.train.storage import Storage
from shoal.tune.errors import TuneError
from shoal.tune.experiment.trial import Trial

__all__ = ["FILE", "ExperimentFile", "decode", "encode"]

FILE = "experiment.sqlite"
_VERSION = 1
_PLAIN = frozenset({str, int, float, bool, type(None)})
_SYNC_SECONDS = 30.0  # between copies to a storage that is not this machine's

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB);
CREATE TABLE IF NOT EXISTS trials (
  number INTEGER PRIMARY KEY, trial_id TEXT UNIQUE, status TEXT, config BLOB, params BLOB, tag TEXT, dirname TEXT,
  failures INTEGER, error TEXT, exception BLOB, last BLOB, best TEXT, checkpoints TEXT, next_index INTEGER,
  restore_path TEXT, restore_iteration INTEGER
);
CREATE TABLE IF NOT EXISTS reports (
  seq INTEGER PRIMARY KEY, trial INTEGER, iteration INTEGER, result BLOB
);
CREATE INDEX IF NOT EXISTS reports_of ON reports (trial);
"""


def encode(value: Any) -> bytes:
    """Return a value as bytes: JSON where that gives the same value back, a pickle else.

    Example: `encode({"lr": 0.1})  # b'{"lr": 0.1}'`
    """
    if _is_plain(value):
        return json.dumps(value).encode()
    import cloudpickle

    try:
        return b"\x00" + bytes(cloudpickle.dumps(value))
    except Exception as error:  # a stranger's __reduce__ may raise anything
        raise TuneError(f"{value!r:.200} cannot be stored: {error}") from error


def decode(data: bytes | None) -> Any:
    """Return what `encode` was given. What is no JSON is unpickled: open your own experiments only."""
    if data is None:
        return None
    if data[:1] == b"\x00":
        return pickle.loads(data[1:])
    return json.loads(data)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is dict:
        for name, each in value.items():  # a loop: this is asked for every value of every report
            if type(name) is not str or (type(each) not in _PLAIN and not _is_plain(each)):
                return False
        return True
    return kind is list and all(map(_is_plain, value))


class ExperimentFile:
    """One experiment's file. In a local storage it lies in the experiment's folder; for another it is copied there.

    Everything between two `commit()` is there as a whole or not at all, whenever the process or machine ends.
    Raises ConfigError for a file that is none, TuneError when the disk is full.
    """

    def __init__(self, storage: Storage, create: bool = True, read_only: bool = False) -> None:
        self._storage = storage
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._read_only = read_only
        if storage.is_local:
            os.makedirs(storage.path, exist_ok=True)
            self.path = storage.at(FILE)
        else:
            self._folder = tempfile.TemporaryDirectory(prefix="shoal_experiment_")
            self.path = os.path.join(self._folder.name, FILE)
            data = storage.read(FILE)
            if data is not None:
                with open(self.path, "wb") as file:
                    file.write(data)
        if not create and not os.path.exists(self.path):
            self._cleanup()
            raise FileNotFoundError(f"there is no experiment in {storage.path}: it has no file {FILE}")
        self._synced = time.monotonic()
        self._changes: list[tuple[str, tuple[Any, ...]]] = []
        self._trials: dict[int, Trial] = {}  # written once in a transaction, however often they change
        self._dirty = False
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30.0, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(_SCHEMA)
            found = db.execute("SELECT value FROM meta WHERE key='version'").fetchone()
            if found is None:
                db.execute("INSERT INTO meta VALUES ('version', ?)", (json.dumps(_VERSION).encode(),))
            elif json.loads(found[0]) > _VERSION:
                raise ConfigError(
                    f"{self.path} was written by a later version of Shoal (format {found[0]!r}, this knows {_VERSION})"
                )
        except sqlite3.DatabaseError as error:
            db.close()
            self._cleanup()
            if "full" in str(error):
                raise _full(self.path, error) from error
            raise ConfigError(f"{self.path} is no experiment's file: {error}") from error
        except BaseException:
            db.close()
            raise
        return db

    # Writing

    def put_meta(self, **values: Any) -> None:
        """Set facts about the experiment."""
        for key, value in values.items():
            self._changes.append(("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, encode(value))))

    def put_trial(self, trial: Trial) -> None:
        """Write down what a trial is when the transaction is made."""
        self._trials[trial.number] = trial

    def _put_trial(self, trial: Trial) -> None:
        exception = None
        if trial.exception is not None:
            with contextlib.suppress(Exception):  # a stranger's __reduce__ may raise anything
                exception = encode(trial.exception)
        checkpoints = [[each.index, each.name, each.path, dict(each.metrics)] for each in trial.kept.all]
        last, best = trial.last_result, trial.best
        self._changes.append(
            (
                "INSERT OR REPLACE INTO trials VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    trial.number,
                    trial.trial_id,
                    trial.status,
                    encode(trial.config),
                    encode(dict(trial.evaluated_params)),
                    trial.experiment_tag,
                    trial.dirname,
                    trial.num_failures,
                    trial.error,
                    exception,
                    encode(last) if last else b"{}",
                    json.dumps(best) if best else "{}",
                    json.dumps(checkpoints) if checkpoints else "[]",
                    trial.next_index,
                    trial.restore_path,
                    trial.restore_iteration,
                ),
            )
        )

    def put_report(self, trial: Trial, result: Mapping[str, Any]) -> None:
        """Write a report down."""
        self._changes.append(
            (
                "INSERT INTO reports (trial, iteration, result) VALUES (?, ?, ?)",
                (trial.number, result.get("training_iteration", 0), encode(dict(result))),
            )
        )

    def commit(self) -> None:
        """Write everything in one transaction. Raises TuneError if the disk is full; nothing of it is there then."""
        for trial in self._trials.values():
            self._put_trial(trial)
        self._trials.clear()
        if not self._changes:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, values in self._changes:
                self._db.execute(statement, values)
            self._db.execute("COMMIT")
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise _full(self.path, error) from error
        self._changes.clear()
        self._dirty = True
        if self._folder is not None and time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Copy the file to the storage, if it does not lie there."""
        if self._folder is None or not self._dirty or self._read_only:
            return
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with open(self.path, "rb") as file:
            self._storage.write(FILE, file.read())
        self._synced = time.monotonic()
        self._dirty = False

    def close(self) -> None:
        """Write what is left, and close the file."""
        try:
            self.commit()
            self.sync()
        finally:
            self._db.close()
            self._cleanup()

    def _cleanup(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> ExperimentFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Reading

    def meta(self) -> dict[str, Any]:
        """Return the facts about the experiment, those that are plain data or can be unpickled."""
        found: dict[str, Any] = {}
        for key, value in self._db.execute("SELECT key, value FROM meta"):
            try:
                found[key] = decode(value)
            except Exception:  # code that is gone; whoever needs the fact says so
                continue
        return found

    def trials(self, checkpoints: CheckpointConfig | None = None) -> list[Trial]:
        """Return all trials, in the order they were made."""
        keep = checkpoints or CheckpointConfig()
        return [_trial(row, keep) for row in self._db.execute("SELECT * FROM trials ORDER BY number")]

    def reports(self, number: int) -> list[dict[str, Any]]:
        """Return the reports of the trial of that number, in order; after a restart those that count."""
        rows = self._db.execute("SELECT iteration, result FROM reports WHERE trial=? ORDER BY seq", (number,))
        found: list[tuple[int, dict[str, Any]]] = []
        for iteration, data in rows:
            while found and found[-1][0] >= iteration:
                found.pop()  # of an attempt that was begun anew from before it
            found.append((iteration, decode(data)))
        return [result for _, result in found]

    def reports_by_trial(self) -> dict[int, list[dict[str, Any]]]:
        """Return all trials' reports by the trials' numbers, each in order."""
        found: dict[int, list[dict[str, Any]]] = {}
        for number, iteration, data in self._db.execute(
            "SELECT trial, iteration, result FROM reports ORDER BY seq"
        ):
            rows = found.setdefault(number, [])
            while rows and rows[-1].get("training_iteration", 0) >= iteration:
                rows.pop()  # of an attempt that was begun anew from before it
            rows.append(decode(data))
        return found

    def all_reports(self, after: int = 0) -> Iterable[tuple[int, int, dict[str, Any]]]:
        """Give every report after a number: its own, its trial's, and what was reported."""
        for seq, trial, data in self._db.execute(
            "SELECT seq, trial, result FROM reports WHERE seq > ? ORDER BY seq", (after,)
        ):
            yield seq, trial, decode(data)

    def count_reports(self) -> int:
        """Return the number of the last report."""
        found = self._db.execute("SELECT max(seq) FROM reports").fetchone()[0]
        return int(found or 0)

    def forget_from(self, numbers: Sequence[int]) -> None:
        """Forget the reports of trials that are to begin again."""
        for number in numbers:
            self._changes.append(("DELETE FROM reports WHERE trial=?", (number,)))


def _full(path: str, error: Exception) -> TuneError:
    return TuneError(
        f"the experiment's state cannot be written to {path}: {error}. What was there before is whole: make room, and "
        "go on with Tuner.restore()"
    )


def _trial(row: tuple[Any, ...], keep: CheckpointConfig) -> Trial:
    (number, trial_id, status, config, params, tag, dirname, failures, error, exception, last, best, checkpoints,
     next_index, restore_path, restore_iteration) = row  # fmt: skip
    kept = KeptCheckpoints(keep.num_to_keep, keep.checkpoint_score_attribute, keep.checkpoint_score_order)
    kept.all = [Kept(index, name, metrics, path) for index, name, path, metrics in json.loads(checkpoints)]
    return Trial(
        trial_id,
        number,
        decode(config),
        decode(params),
        tag,
        dirname,
        kept=kept,
        status=status,
        last_result=decode(last) or {},
        num_failures=failures,
        error=error,
        exception=_exception(exception, error),
        restore_path=restore_path,
        restore_iteration=restore_iteration,
        best={name: tuple(values) for name, values in json.loads(best).items()},
        next_index=next_index,
    )


def _exception(data: bytes | None, text: str) -> BaseException | None:
    if data is None:
        return RuntimeError(text) if text else None
    try:
        found = decode(data)
    except Exception:  # code that is gone
        return RuntimeError(text)
    return found if isinstance(found, BaseException) else RuntimeError(text)
