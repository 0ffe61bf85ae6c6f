"""Log files are rotated within their bounds and keep the newest lines."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.native.daemon.logs import LogFile


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 400), max_size=40), limit=st.integers(10, 500), files=st.integers(1, 4))
def test_bounds_hold_and_the_newest_is_kept(tmp_path: Path, sizes: list[int], limit: int, files: int) -> None:
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    log = LogFile(str(folder / "log"), limit, files)
    written = b""
    for number, size in enumerate(sizes):
        data = bytes([number % 256]) * size
        written += data
        log.write(data)
        kept = sorted(folder.iterdir())
        assert len(kept) <= files
        largest = limit + max(sizes)  # a file is rotated after the write that fills it
        assert all(path.stat().st_size < largest for path in kept)
    log.close()
    names = [f"log.{number}" for number in range(files - 1, 0, -1)] + ["log"]
    found = b"".join((folder / name).read_bytes() for name in names if (folder / name).exists())
    assert written.endswith(found), "what is kept is the end of what was written, in order"


def test_a_log_is_its_owners_alone(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), 100, 2)
    log.write(b"x")
    log.close()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


@pytest.mark.parametrize("times", [1, 2])
def test_closing_twice_and_writing_again(tmp_path: Path, times: int) -> None:
    log = LogFile(str(tmp_path / "log"), 100, 2)
    for _ in range(times):
        log.write(b"x")
        log.close()
        log.close()
    assert (tmp_path / "log").read_bytes() == b"x" * times
