"""The event log's format: whatever happens to its bytes, what is whole is read and what is missing is counted."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.observe.eventlog import CALL_FIELDS, EventLog, encode_block, segments, trim
from shoal.observe.eventreader import Losses, parse, read_blocks, read_log

NAMES = st.text(max_size=20)


def call(number: int, name: str = "f") -> list[Any]:
    return [name, 0, b"", b"\0" * 8, time.time(), 5, 0, number, time.time(), b"", ""]


def log(folder: Path | str, process: str = "aa", limit: int = 1 << 20) -> EventLog:
    return EventLog(str(folder), {"process": process, "kind": "driver", "job": "01", "node": "0b"}, limit)


def numbers(folder: Path | str) -> list[int]:
    return [one[7] for block in read_log(str(folder))[0] for one in block.calls]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    writer = log(tmp_path / "events")
    assert read_log(str(tmp_path / "events")) == ([], Losses())  # nothing is made before the first event
    assert writer.append([call(1), call(2)], [["node", 1.5, {"state": "ALIVE"}]])
    assert writer.append([], [["node", 2.5, {"state": "DEAD", "bytes": b"\xff"}]], sampled=7)
    writer.close()
    blocks, losses = read_log(str(tmp_path / "events"))
    assert len(call(1)) == len(CALL_FIELDS)
    assert [len(block.calls) for block in blocks] == [2, 0]
    assert blocks[1].facts == [["node", 2.5, {"state": "DEAD", "bytes": b"\xff"}]]
    assert losses == Losses(sampled=7)
    assert "7 calls were not recorded" in losses.as_text()
    [path] = segments(str(tmp_path / "events"))
    assert os.stat(path).st_mode & 0o077 == 0


@given(st.lists(st.lists(NAMES, min_size=1, max_size=5), min_size=1, max_size=6), st.data())
def test_a_torn_end_costs_one_block(batches: list[list[str]], data: st.DataObject) -> None:
    encoded = [
        encode_block({"process": "aa", "first": 0}, [call(i, name) for i, name in enumerate(batch)], [])
        for batch in batches
    ]
    whole = b"".join(encoded)
    cut = data.draw(st.integers(0, len(whole) - 1))
    ends = [sum(map(len, encoded[: i + 1])) for i in range(len(encoded))]
    kept = sum(end <= cut for end in ends)
    found = list(parse(whole[:cut]))
    read = [block for block in found if block is not None]
    assert [[one[0] for one in block.calls] for block in read] == batches[:kept]
    assert found.count(None) == (0 if cut in (0, *ends) else 1)


@given(st.integers(2, 5), st.data())
def test_damage_in_the_middle_leaves_the_others(count: int, data: st.DataObject) -> None:
    encoded = [encode_block({"process": "aa"}, [call(i)], []) for i in range(count)]
    hurt = data.draw(st.integers(0, count - 1))
    where = data.draw(st.integers(0, len(encoded[hurt]) - 1))
    change = data.draw(st.integers(1, 255))
    broken = bytearray(encoded[hurt])
    broken[where] ^= change
    encoded[hurt] = bytes(broken)
    found = list(parse(b"".join(encoded)))
    read = [block.calls[0][7] for block in found if block is not None]
    assert read == [i for i in range(count) if i != hurt]
    assert None in found


@given(st.binary(max_size=300))
def test_any_bytes_are_no_blocks_but_no_error(data: bytes) -> None:
    read_blocks([data, data[1:]])


@settings(max_examples=25)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.integers(40_000, 120_000))
def test_a_log_stays_within_its_bound_and_counts_what_it_lost(batches: list[int], limit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer, told = log(folder, limit=limit), 0
        for batch in batches:
            assert writer.append([call(told + i) for i in range(batch)], [])
            told += batch
        writer.close()
        sizes = [os.path.getsize(path) for path in segments(folder)]
        # One segment is begun within the bound; a single block may be larger than a segment.
        assert sum(sizes) <= limit + max(sizes)
        have = numbers(folder)
        assert have == list(range(told - len(have), told))  # the newest, without a gap
        assert read_log(folder)[1].trimmed == told - len(have)


def test_a_removed_segment_is_noticed_by_its_writer(tmp_path: Path) -> None:
    writer = log(tmp_path)
    writer.append([call(1)], [])
    trim(str(tmp_path), 0)
    assert segments(str(tmp_path)) == []
    writer.append([call(2)], [])
    writer.close()
    assert numbers(tmp_path) == [2]
    assert read_log(str(tmp_path))[1].trimmed == 1


def test_what_cannot_be_written_is_counted_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file is where the folder should be")
    writer = log(tmp_path / "events")
    assert not writer.append([call(1), call(2)], [])
    (tmp_path / "events").unlink()
    assert not writer.append([], [["odd", 1.0, {"value": object()}]])
    assert writer.append([call(3)], [])
    writer.close()
    blocks, losses = read_log(str(tmp_path / "events"))
    assert [one[7] for block in blocks for one in block.calls] == [3]
    assert losses == Losses(unwritten=3)


@pytest.mark.parametrize("size", [0, 1, 15, 16])
def test_a_file_of_a_crash_at_its_beginning(tmp_path: Path, size: int) -> None:
    block = encode_block({"process": "aa"}, [call(1)], [])
    (tmp_path / "aa-000001.events").write_bytes(block[:size])
    assert read_log(str(tmp_path)) == ([], Losses(damaged=min(1, size)))
