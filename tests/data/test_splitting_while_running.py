"""Several consumers share one execution of a dataset."""

from __future__ import annotations

from typing import Any

import pytest

import shoal
import shoal.data

pytestmark = pytest.mark.usefixtures("session")


def numbers(count: int, blocks: int = 7) -> shoal.data.Dataset:
    return shoal.data.range(count, override_num_blocks=blocks).map_batches(lambda batch: batch)


def ids(iterator: Any) -> list[int]:
    return [row["id"] for row in iterator.iter_rows()]


@shoal.remote(num_cpus=0)
class Consumer:
    def __init__(self, iterator: Any) -> None:
        self.iterator = iterator

    def epoch(self) -> list[int]:
        return [
            number for batch in self.iterator.iter_batches(batch_size=8) for number in batch["id"].tolist()
        ]


def test_consumers_in_actors_get_each_row_once_in_every_epoch() -> None:
    consumers = [Consumer.remote(part) for part in numbers(101).streaming_split(3)]
    for _ in range(2):
        parts = shoal.get([consumer.epoch.remote() for consumer in consumers], timeout=60)
        assert sorted(number for part in parts for number in part) == list(range(101))


def test_equal_parts_have_as_many_rows_each() -> None:
    parts = [ids(part) for part in numbers(101).streaming_split(4, equal=True)]
    assert [len(part) for part in parts] == [25] * 4
    assert len({number for part in parts for number in part}) == 100


def test_a_part_that_stops_early_leaves_the_others_alone() -> None:
    left, right = numbers(100).streaming_split(2, equal=True)
    for _ in left.iter_rows():
        break
    assert len(ids(right)) == 50
    assert len(ids(left)) == 50, "the next loop is an epoch of its own"
    ids(right)


def test_an_error_reaches_every_part() -> None:
    def fail(row: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("the user's own")

    for part in numbers(10).map(fail).streaming_split(2):
        with pytest.raises(ValueError, match="the user's own"):
            ids(part)


def test_iterators_tell_what_they_are_of() -> None:
    whole = numbers(10).iterator()
    [part] = numbers(10).streaming_split(1)
    for iterator in (whole, part):
        schema = iterator.schema()
        assert schema is not None
        assert schema.names == ["id"]
        assert ids(iterator.materialize()) == list(range(10))
        assert "bottleneck" in iterator.stats()
        assert iterator.get_context().target_max_block_size > 0
    with pytest.raises(ValueError, match="n must be a whole number"):
        numbers(1).streaming_split(0)
