"""What the demo is made of, without a session: plain functions and a plain class."""

from __future__ import annotations

import mmap
from collections import Counter

import numpy

from shoal.cli.demo import Counted, Tally, as_array, count, memory_of, read_corpus, split
from shoal.observe.render import table


def counted(process: int, kinds: dict[str, int], memory: str = "shared") -> Counted:
    return Counted(
        kinds=Counter(kinds), files=1, seconds=0.5, worker="w", process=process, node="n", memory=memory
    )


def test_parts_hold_every_file_once_and_weigh_about_the_same() -> None:
    spans = [(0, 50), (50, 51), (51, 91), (91, 101), (101, 141)]
    parts = split(spans, 3)
    assert sorted(span for part in parts for span in part) == spans
    assert [sum(stop - start for start, stop in part) for part in parts] == [50, 50, 41]
    assert len(split(spans, 32)) == 5


def test_counting_in_parts_is_counting_the_whole() -> None:
    corpus = read_corpus(12)
    whole = count(corpus.data, corpus.spans)
    assert whole["NAME"] > 100
    assert sum((count(corpus.data, part) for part in split(corpus.spans, 4)), Counter()) == whole


def test_a_file_that_is_no_python_is_counted_as_such() -> None:
    assert count(b"x = (", [(0, 5)])["unreadable"] == 1


def test_the_tally_adds_up_by_process() -> None:
    tally = Tally()
    assert tally.add(counted(2, {"NAME": 1})) == 1
    assert tally.add(counted(1, {"NAME": 2})) == 2
    assert tally.add(counted(2, {"OP": 4}, memory="own")) == 3
    assert tally.total().kinds == {"NAME": 3, "OP": 4}
    assert [
        (where.process, where.tasks, where.tokens, where.seconds, where.memory) for where in tally.places()
    ] == [
        (1, 1, 2, 0.5, "shared"),
        (2, 2, 5, 1.0, "own, shared"),
    ]


def test_memory_is_own_or_shared() -> None:
    with mmap.mmap(-1, 4096) as mapping:  # anonymous and shared, as between a process and its children
        array = numpy.frombuffer(mapping, dtype=numpy.uint8)
        assert memory_of(array) == "shared"
        del array
    assert memory_of(as_array(bytes(4096))) == "own"
    assert memory_of(b"bytes always hold their own copy") == "own"


def test_a_table_aligns_numbers_to_the_right() -> None:
    assert table(["name", "n"], [["a", 1000], ["bcdef", 2]]) == "name       n\na      1,000\nbcdef      2"
