"""What is special about a file."""

from __future__ import annotations

import resource
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Write
from shoal.metadata.sqlite import SqliteMetadata


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    store = SqliteMetadata(str(tmp_path / "head.db"))
    store.apply([Write("t", b"k", b"v")])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    store.close()
    assert modes == {0o600}


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + bytes(200)])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "head.db"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is no metadata store"):
        SqliteMetadata(str(path))
    assert path.read_bytes() == content


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot use the file"):
        SqliteMetadata(str(tmp_path / "none" / "head.db"))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "head.db")
    SqliteMetadata(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(ConfigError, match="newer version"):
        SqliteMetadata(path)


@pytest.mark.parametrize(
    "options", [{"synchronous": "off"}, {"timeout": -1}, {"timeout": True}, {"synchronous": 1}]
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        SqliteMetadata(str(tmp_path / "head.db"), options)


def test_a_writer_that_waits_too_long_says_so(tmp_path: Path) -> None:
    path = str(tmp_path / "head.db")
    store = SqliteMetadata(path, {"timeout": 0})
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OSError, match="locked"):
        store.apply([Write("t", b"k", b"v")])
    other.execute("ROLLBACK")
    other.close()
    store.apply([Write("t", b"k", b"v")])
    assert store.get("t", b"k") == b"v"
    store.close()


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    """The real condition: a limit on file size, in a process of its own since it cannot be raised again."""
    path = str(tmp_path / "head.db")
    code = f"""
import resource
from shoal.interfaces.metadata import Write
from shoal.metadata.sqlite import SqliteMetadata
store = SqliteMetadata({path!r})
store.apply([Write("t", b"old", b"1")])
resource.setrlimit(resource.RLIMIT_FSIZE, ({1 << 18}, {1 << 18}))
try:
    store.apply([Write("t", b"old", b"2"), Write("t", b"large", bytes(1 << 20))])
except OSError as error:
    print("refused")
print(store.items("t"))
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["refused", "[(b'old', b'1')]"]
    store = SqliteMetadata(path)
    assert store.items("t") == [(b"old", b"1")]
    store.close()
