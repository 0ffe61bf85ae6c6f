"""Reading logs while they are written and rotated, against the daemon's own way of writing them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoal.native.commands.log_files import Followed, tail
from shoal.native.daemon.logs import LogFile


def lines(first: int, last: int) -> list[str]:
    return [f"line {number}" for number in range(first, last + 1)]


def write(log: LogFile, first: int, last: int) -> None:
    for line in lines(first, last):
        log.write(f"{line}\n".encode())


@pytest.mark.parametrize("count", [0, 1, 3, 17, 100, 10_000])
def test_the_last_lines(tmp_path: Path, count: int) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"{line}\n" for line in lines(1, 9000)))
    assert tail(str(path), count) == (lines(1, 9000)[-count:] if count else [])


def test_the_last_lines_reach_back_into_older_files(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "log"), limit=100, files=5)
    write(log, 1, 40)
    log.close()
    assert len(list(tmp_path.iterdir())) > 2
    assert not (tmp_path / "log").exists()  # the last line filled it, and the next will begin another
    assert tail(str(tmp_path / "log"), 25) == lines(16, 40)
    assert tail(str(tmp_path / "log"), 1000)[-30:] == lines(11, 40)


def test_an_unfinished_line_counts(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\ntwo\nthr")
    assert tail(str(tmp_path / "log"), 2) == ["two", "thr"]
    assert tail(str(tmp_path / "absent"), 2) == []


def test_bytes_that_are_no_text_are_shown_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"good\n\xff\xfe bad\n")
    assert tail(str(tmp_path / "log"), 5) == ["good", "\ufffd\ufffd bad"]


def test_following_gives_each_line_once(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    log = LogFile(path, limit=1 << 20, files=3)
    write(log, 1, 10)
    followed = Followed(path, 4)
    assert followed.new_lines() == lines(7, 10)
    assert followed.new_lines() == []
    log.write(b"begin")
    assert followed.new_lines() == []
    log.write(b" and end\nnext")
    assert followed.new_lines() == ["begin and end"]
    assert followed.end() == ["next"]
    log.close()


def test_following_goes_on_when_the_file_is_rotated(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    log = LogFile(path, limit=200, files=3)
    followed = Followed(path, 10)
    seen: list[str] = []
    for number in range(1, 301):
        write(log, number, number)
        seen += followed.new_lines()
    seen += followed.new_lines()
    assert seen == lines(1, 300)
    assert followed.end() == []
    log.close()


def test_following_waits_for_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    followed = Followed(str(tmp_path / "log"), 10)
    assert followed.new_lines() == []
    (tmp_path / "log").write_bytes(b"late\n")
    assert followed.new_lines() == ["late"]
    assert followed.end() == []
