"""SqliteMetadata: one file, written so that a crash of the process or the machine loses nothing that was promised."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.interfaces.metadata import Metadata, Write
from shoal.metadata.values import after, check_seconds

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    name TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (name, key)
) WITHOUT ROWID
"""
# A lease ends by the clock that runs on through a sleep of the machine and that nobody can set. It begins anew with
# each start of the machine, and so do the leases.
_LEASES = """
CREATE TABLE IF NOT EXISTS leases (
    name TEXT NOT NULL PRIMARY KEY, owner BLOB NOT NULL, boot TEXT NOT NULL, until REAL NOT NULL
) WITHOUT ROWID
"""
_BOOT_FILE = "/proc/sys/kernel/random/boot_id"
_VERSION = 1
_SYNCHRONOUS = ("normal", "full")


class SqliteMetadata(Metadata):
    """SQLite in write-ahead mode. Several processes may open the same file.

    Options: `synchronous`, "normal" (default: a write survives the death of the process) or "full" (that of the machine
    as well, at the price of a disk flush for each write); `timeout`, seconds to wait for another process's write (10).

    Example: `SqliteMetadata("/var/lib/shoal/head.db").apply([Write("jobs", b"1", b"...")])`.
    """

    name: ClassVar[str] = "sqlite"
    durable: ClassVar[bool] = True
    __slots__ = ("_connection", "_lock")

    def __init__(self, location: str, options: Mapping[str, Any] | None = None) -> None:
        given = dict(options or {})
        synchronous, timeout = given.pop("synchronous", "normal"), given.pop("timeout", 10)
        if given:
            raise ConfigError(
                f"the metadata store 'sqlite' has no options {sorted(given)}; it has synchronous, timeout"
            )
        if synchronous not in _SYNCHRONOUS:
            raise ConfigError(
                f"synchronous of the metadata store 'sqlite' must be one of {_SYNCHRONOUS}, got {describe(synchronous)}"
            )
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout < 0:
            raise ConfigError(
                f"timeout of the metadata store 'sqlite' must be seconds ≥ 0, got {describe(timeout)}"
            )
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        try:
            # Created first, so that it is nobody else's to read from its first byte on.
            os.close(os.open(location, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(
                location, timeout=timeout, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"the metadata store cannot use the file {location!r}: {error}") from error
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={synchronous}")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise ConfigError(f"{location!r} was written by a newer version of Shoal (format {version})")
            connection.execute(_SCHEMA)
            connection.execute(_LEASES)
            connection.execute(f"PRAGMA user_version={_VERSION}")
        except sqlite3.Error as error:
            connection.close()
            if "full" in str(error):
                raise ConfigError(
                    f"the metadata store has no room for its file {location!r}: {error}"
                ) from error
            raise ConfigError(f"the file {location!r} is no metadata store: {error}") from error
        except ConfigError:
            connection.close()
            raise
        self._connection = connection

    def get(self, table: str, key: bytes) -> bytes | None:
        with self._use() as connection:
            row = connection.execute(
                "SELECT value FROM entries WHERE name = ? AND key = ?", (table, bytes(key))
            ).fetchone()
        return None if row is None else bytes(row[0])

    def apply(self, writes: Sequence[Write]) -> None:
        with self._use() as connection:
            if len(writes) == 1:
                _write(connection, writes[0])  # a transaction by itself
                return
            with _transaction(connection):
                for write in writes:
                    _write(connection, write)

    def put_if_absent(self, table: str, key: bytes, value: bytes) -> bool:
        with self._use() as connection:
            done = connection.execute(
                "INSERT OR IGNORE INTO entries VALUES (?, ?, ?)", (table, bytes(key), bytes(value))
            )
            return done.rowcount == 1

    def items(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        query, values = "SELECT key, value FROM entries WHERE name = ? AND key >= ?", [table, bytes(prefix)]
        end = after(prefix)
        if end is not None:
            query, values = query + " AND key < ?", [*values, end]
        with self._use() as connection:
            rows = connection.execute(query + " ORDER BY key", values).fetchall()
        return [(bytes(key), bytes(value)) for key, value in rows]

    def acquire(self, name: str, owner: bytes, seconds: float) -> bool:
        """Take a lease; see SupportsLeases."""
        return self._lend(name, owner, check_seconds(seconds), (None, owner))

    def renew(self, name: str, owner: bytes, seconds: float) -> bool:
        """Prolong a lease; see SupportsLeases."""
        return self._lend(name, owner, check_seconds(seconds), (owner,))

    def release(self, name: str, owner: bytes) -> bool:
        """Give a lease back; see SupportsLeases."""
        with self._use() as connection, _transaction(connection):
            if _holder(connection, name) != owner:
                return False
            connection.execute("DELETE FROM leases WHERE name = ?", (name,))
            return True

    def holder(self, name: str) -> bytes | None:
        """Tell whose a lease is; see SupportsLeases."""
        with self._use() as connection:
            return _holder(connection, name)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _lend(self, name: str, owner: bytes, seconds: float, may_be: tuple[bytes | None, ...]) -> bool:
        with self._use() as connection, _transaction(connection):
            if _holder(connection, name) not in may_be:
                return False
            connection.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)",
                (name, bytes(owner), _boot(), _now() + seconds),
            )
            return True

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                raise ValueError("the metadata store is closed")
            try:
                yield self._connection
            except (sqlite3.OperationalError, sqlite3.DatabaseError) as error:
                raise OSError(f"the metadata store failed: {error}") from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _write(connection: sqlite3.Connection, write: Write) -> None:
    key = (write.table, bytes(write.key))
    if write.value is None:
        connection.execute("DELETE FROM entries WHERE name = ? AND key = ?", key)
    else:
        connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", (*key, bytes(write.value)))


def _holder(connection: sqlite3.Connection, name: str) -> bytes | None:
    row = connection.execute(
        "SELECT owner FROM leases WHERE name = ? AND boot = ? AND until > ?", (name, _boot(), _now())
    ).fetchone()
    return None if row is None else bytes(row[0])


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    return Path(_BOOT_FILE).read_text().strip()
