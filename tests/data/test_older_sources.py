"""Sources that are written in the older ways."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

import shoal.data
from shoal.data import Datasource, ReadTask
from shoal.data.sources.datasource import BlockMetadata, Reader


def pieces(count: int) -> list[ReadTask]:
    return [
        ReadTask(lambda number=number: [pa.table({"id": [number]})], BlockMetadata(num_rows=1))  # type: ignore[misc]
        for number in range(count)
    ]


class Prepared(Datasource):
    def prepare_read(self, parallelism: int, **read_args: Any) -> list[ReadTask]:
        return pieces(parallelism)


class ByReader(Datasource):
    def create_reader(self, **read_args: Any) -> Reader:
        class Mine(Reader):
            def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
                return pieces(parallelism)

            def estimate_inmemory_data_size(self) -> int:
                return 8

        return Mine()


class WithoutLimit(Datasource):
    def get_read_tasks(self, parallelism: int) -> list[ReadTask]:  # type: ignore[override]
        return pieces(parallelism)


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    "source", [Prepared(), ByReader(), WithoutLimit()], ids=lambda each: type(each).__name__
)
def test_an_older_source_is_read(source: Datasource) -> None:
    dataset = shoal.data.read_datasource(source, override_num_blocks=3)
    assert [row["id"] for row in dataset.take_all()] == [0, 1, 2]
    assert [row["id"] for row in dataset.take(2)] == [0, 1]
    assert source.should_create_reader is not isinstance(source, WithoutLimit)


@pytest.mark.usefixtures("inline")
def test_a_source_that_cannot_be_read_says_what_it_lacks() -> None:
    class Nothing(Datasource):
        pass

    with pytest.raises(NotImplementedError, match="Nothing defines no get_read_tasks"):
        shoal.data.read_datasource(Nothing()).take_all()
