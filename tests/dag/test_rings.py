"""Rings in shared memory: order, back-pressure, who holds a slot, ends."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.dag.failures import ChannelClosed, ChannelTimeout, ValueTooLarge
from shoal.dag.ring import ERROR, Reader, Ring, RingPlan, Writer, make_ring
from shoal.values import pack


def nothing() -> None:
    """Waiting goes on."""


def made(folder: Path, slots: int = 3, size: int = 10_000, readers: int = 1) -> tuple[Writer, list[Reader]]:
    path = str(folder / f"ring-{os.urandom(4).hex()}")
    make_ring(RingPlan(path, slots, size, readers))
    return Writer(Ring(path)), [Reader(Ring(path), index) for index in range(readers)]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("wr"), st.integers(0, 2)), max_size=80),
)
def test_each_reader_sees_all_values_in_order(
    tmp_path_factory: pytest.TempPathFactory, slots: int, count: int, moves: list[tuple[str, int]]
) -> None:
    writer, readers = made(tmp_path_factory.getbasetemp(), slots, readers=count)
    written = 0
    read = [0] * count
    for move, index in moves:
        if move == "w":
            room = written - min(read) < slots
            assert writer.has_room() is room
            if room:
                writer.write(pack([written, np.full(written % 50, written)]), 0, nothing)
                written += 1
        else:
            index %= count
            ready = read[index] < written
            assert readers[index].ready() is ready
            if ready:
                number, array = readers[index].read(0, nothing)[1]
                assert number == read[index]
                assert (array == number).all()
                del array
                readers[index].release()
                read[index] += 1


def test_a_slot_is_held_while_its_views_are_used(tmp_path: Path) -> None:
    writer, (reader,) = made(tmp_path, slots=1)
    writer.write(pack(np.arange(100)), 0, nothing)
    array: Any = reader.read(0, nothing)[1]
    part = array[10:20]
    del array
    reader.release()
    with pytest.raises(ChannelTimeout):
        writer.write(pack(np.zeros(100)), 0.05, nothing)
    assert part[0] == 10
    del part
    gc.collect()
    reader.release()
    writer.write(pack(np.zeros(100)), 0, nothing)
    assert reader.read(0, nothing)[1].sum() == 0


def test_errors_and_sizes(tmp_path: Path) -> None:
    writer, (reader,) = made(tmp_path, size=1_000)
    writer.write_bytes(ERROR, b"bad", 0, nothing)
    assert reader.read(0, nothing) == (ERROR, b"bad")
    with pytest.raises(ValueTooLarge, match=r"_buffer_size_bytes=1[0-9]{3} or more"):
        writer.write(pack(np.zeros(200)), 0, nothing)
    with pytest.raises(ChannelTimeout, match="nothing came within 0 s"):
        reader.read(0, nothing)


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_closing_wakes_who_waits(tmp_path: Path, side: str) -> None:
    writer, (reader,) = made(tmp_path, slots=1)
    if side == "writer":
        writer.write(pack(1), 0, nothing)
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            if side == "reader":
                reader.read(30, nothing)
            else:
                writer.write(pack(2), 30, nothing)
        except ChannelClosed as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    reader.ring.close()
    thread.join(10)
    assert len(raised) == 1
    with pytest.raises(ChannelClosed):
        writer.write(pack(3), 0, nothing)


def test_waiting_asks_now_and_then_whether_it_makes_sense(tmp_path: Path) -> None:
    _, (reader,) = made(tmp_path)

    class Enough(Exception):
        pass

    def check() -> None:
        raise Enough

    with pytest.raises(Enough):
        reader.read(None, check)


def test_a_ring_whose_maker_is_gone_is_known(tmp_path: Path) -> None:
    path = str(tmp_path / "ring")
    child = os.fork()
    if child == 0:
        try:
            make_ring(RingPlan(path, 1, 100, 1))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert Ring(path).creator_is_gone()
    writer, _ = made(tmp_path)
    assert not writer.ring.creator_is_gone()


def test_another_file_is_no_ring(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(bytes(8192))
    with pytest.raises(ValueError, match="no channel of a compiled graph"):
        Ring(str(tmp_path / "other"))
