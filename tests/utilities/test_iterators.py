"""Parallel iterators."""

from __future__ import annotations

from typing import Any

import pytest

from shoal.util.iter import LocalIterator, from_items, from_iterators, from_range

pytestmark = pytest.mark.usefixtures("session")


def test_items_are_gathered_in_turn() -> None:
    assert list(from_items([1, 2, 3, 4, 5], num_shards=2).gather_sync()) == [1, 2, 3, 4, 5]
    assert sorted(from_range(10, num_shards=3).gather_async()) == list(range(10))
    assert from_range(10, num_shards=3).num_shards() == 3


def test_steps_run_in_the_shards() -> None:
    numbers = from_range(8, num_shards=2).for_each(lambda x: x * 2).filter(lambda x: x % 4 == 0)
    assert sorted(numbers.gather_sync()) == [0, 4, 8, 12]
    assert list(from_range(5, num_shards=1).batch(2).gather_sync()) == [[0, 1], [2, 3], [4]]
    assert list(from_range(4, num_shards=1).batch(2).flatten().gather_sync()) == [0, 1, 2, 3]
    assert list(from_range(2, num_shards=1).combine(lambda x: [x, x]).gather_sync()) == [0, 0, 1, 1]
    assert sorted(from_range(9, num_shards=1).local_shuffle(4, seed=1).gather_sync()) == list(range(9))
    doubled = from_range(3, num_shards=1).transform(lambda items: (2 * item for item in items))
    assert list(doubled.gather_sync()) == [0, 2, 4]


def test_it_can_be_read_again() -> None:
    numbers = from_range(4)
    assert list(numbers.gather_sync()) == list(numbers.gather_sync())


def test_shards_and_unions() -> None:
    numbers = from_range(6, num_shards=2)
    assert [list(shard) for shard in numbers.shards()] == [[0, 1, 2], [3, 4, 5]]
    assert list(numbers.select_shards([1]).gather_sync()) == [3, 4, 5]
    assert sorted(numbers.union(from_items([10, 11])).gather_async(num_async=2)) == [0, 1, 2, 3, 4, 5, 10, 11]
    assert list(numbers.batch_across_shards()) == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(ValueError, match="different numbers"):
        numbers.select_shards([0, 0])


def test_repartition_keeps_every_item() -> None:
    parts = from_range(10, num_shards=2).repartition(3)
    assert parts.num_shards() == 3
    assert sorted(parts.gather_sync()) == list(range(10))


def test_repeat_and_take() -> None:
    assert from_items([1, 2], num_shards=1, repeat=True).take(5) == [1, 2, 1, 2, 1]
    assert from_iterators([lambda: iter([7])], repeat=True).take(3) == [7, 7, 7]


def test_an_error_in_a_step_is_raised_here() -> None:
    def fail(_: int) -> Any:
        raise KeyError("no")

    with pytest.raises(KeyError):
        from_range(2).for_each(fail).take(1)


def test_local_iterators() -> None:
    numbers = from_range(4, num_shards=1).gather_sync()
    one, two = numbers.duplicate(2)
    assert list(one) == list(two) == [0, 1, 2, 3]
    left, right = from_range(3, num_shards=1).gather_sync(), from_items([9], num_shards=1).gather_sync()
    assert list(left.union(right)) == [0, 9, 1, 2]
    pairs = from_range(2, num_shards=1).gather_async().zip_with_source_actor()
    assert [item for _, item in pairs] == [0, 1]
    assert list(from_range(5, num_shards=1).gather_sync().for_each(lambda x: x + 1, max_concurrency=2)) == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_counters_are_those_of_the_iterator_that_is_read() -> None:
    def count(item: int) -> int:
        LocalIterator.get_metrics().counters["seen"] += 1
        return item

    numbers = from_range(3, num_shards=1).gather_sync().for_each(count)
    list(numbers)
    assert numbers.shared_metrics.get().counters["seen"] == 3
    with pytest.raises(RuntimeError, match="inside an iterator"):
        LocalIterator.get_metrics()


def test_a_parallel_iterator_is_not_read_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TypeError, match="gathered first"):
        iter(from_range(2))
    from_range(2, num_shards=1).show()
    assert capsys.readouterr().out == "0\n1\n"
