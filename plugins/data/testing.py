"""The contracts of Datasource and Datasink, for whoever writes one.

class TestMine(DatasourceContract):
    @pytest.fixture
    def source(self):
        return MyDatasource(...)

    @pytest.fixture
    def rows(self):
        return [{"x": 1}, {"x": 2}]  # what the source gives
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cloudpickle
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from shoal.data.block import Row, concat, from_rows
from shoal.data.sinks.datasink import Datasink, TaskContext, WriteResult
from shoal.data.sources.datasource import Datasource, SupportsPredicate, SupportsProjection


class DatasourceContract:
    """What every source must do. Tests of projection and predicates skip themselves for one that supports none."""

    @pytest.fixture
    def source(self) -> Datasource:
        """Return the source under test; it must have at least four rows and one column of numbers."""
        raise NotImplementedError("return the source under test")

    @pytest.fixture
    def rows(self) -> list[Row]:
        """Return the rows that it gives, in order."""
        raise NotImplementedError("return the rows of the source")

    def read(self, source: Datasource, parallelism: int = 2, limit: int | None = None) -> list[list[Row]]:
        """Return the rows of each piece, read as another process would."""
        tasks = source.get_read_tasks(parallelism, limit)
        sent = [cloudpickle.loads(cloudpickle.dumps(task)) for task in tasks]
        return [[row for table in task() for row in table.to_pylist()] for task in sent]

    @pytest.mark.parametrize("parallelism", [1, 2, 7, 100])
    def test_pieces_together_are_the_rows_in_order(
        self, source: Datasource, rows: list[Row], parallelism: int
    ) -> None:
        """However many pieces are asked for."""
        assert [row for piece in self.read(source, parallelism) for row in piece] == rows

    def test_a_piece_gives_the_same_rows_again(self, source: Datasource) -> None:
        """As when a worker died and its task is tried again."""
        assert self.read(source) == self.read(source)
        task = source.get_read_tasks(2)[0]
        assert [table.to_pylist() for table in task()] == [table.to_pylist() for table in task()]

    def test_a_limit_leaves_the_first_rows_of_each_piece(self, source: Datasource) -> None:
        """A source may ignore it, but must not give less."""
        for limited, whole in zip(self.read(source, 2, 1), self.read(source, 2), strict=True):
            assert limited[:1] == whole[:1]
            assert limited == whole[: len(limited)]

    def test_what_is_known_beforehand_is_true(self, source: Datasource, rows: list[Row]) -> None:
        """Numbers of rows and schemas may be absent, not wrong."""
        size = source.estimate_inmemory_data_size()
        assert size is None or size >= 0
        for task, piece in zip(source.get_read_tasks(2), self.read(source), strict=True):
            assert task.metadata.num_rows in (None, len(piece))
            if task.schema is not None:
                assert list(task.schema.names) == list(rows[0])

    def test_a_projection_gives_its_columns_in_its_order(self, source: Datasource, rows: list[Row]) -> None:
        """And leaves the rows as they are."""
        if not isinstance(source, SupportsProjection):
            pytest.skip("the source has no projection")
        names = list(reversed(list(rows[0])))[:2]
        read = [row for piece in self.read(source.project(names)) for row in piece]
        assert read == [{name: row[name] for name in names} for row in rows]
        assert [list(row) for row in read] == [names] * len(rows)

    def test_a_predicate_leaves_rows_out(self, source: Datasource, rows: list[Row]) -> None:
        """Exactly those for which it does not hold."""
        if not isinstance(source, SupportsPredicate):
            pytest.skip("the source takes no predicate")
        name = next(name for name, value in rows[0].items() if isinstance(value, (int, float)))
        bound = sorted(row[name] for row in rows)[len(rows) // 2]
        read = [row for piece in self.read(source.restrict(pc.field(name) < bound)) for row in piece]
        assert read == [row for row in rows if row[name] < bound]


class DatasinkContract:
    """What every sink must do."""

    idempotent = True  # whether a task that is tried again replaces what it wrote
    rows: tuple[Row, ...] = tuple({"id": number, "name": f"n{number}"} for number in range(10))

    @pytest.fixture
    def sink(self) -> Datasink[Any]:
        """Return a new sink under test, into something empty that can take `self.rows`."""
        raise NotImplementedError("return the sink under test")

    @pytest.fixture
    def read_back(self) -> Callable[[], list[Row]]:
        """Return a function that reads what was written, without the sink."""
        raise NotImplementedError("return a function that reads what was written")

    def table(self, start: int = 0, stop: int | None = None) -> Any:
        """Return some of the rows as a block."""
        return from_rows(self.rows[start:stop])

    def sent(self, sink: Datasink[Any]) -> Datasink[Any]:
        """Return the sink as a task gets it."""
        sent: Datasink[Any] = cloudpickle.loads(cloudpickle.dumps(sink))
        return sent

    def as_set(self, rows: list[Row]) -> list[str]:
        """Return rows in an order of their own."""
        return sorted(str(sorted(row.items())) for row in rows)

    def finish(self, sink: Datasink[Any], results: list[Any]) -> None:
        """Tell the sink that all tasks have written."""
        sink.on_write_complete(WriteResult(len(self.rows), 0, results))

    def test_every_row_of_every_task_is_written(
        self, sink: Datasink[Any], read_back: Callable[[], list[Row]]
    ) -> None:
        """Blocks of one task, and of several tasks at once."""
        sink.on_write_start()
        results = [
            self.sent(sink).write(iter([self.table(0, 3), self.table(3, 5)]), TaskContext(0)),
            self.sent(sink).write(iter([self.table(5)]), TaskContext(1)),
        ]
        self.finish(sink, results)
        assert self.as_set(read_back()) == self.as_set(list(self.rows))

    def test_a_task_that_is_tried_again_writes_each_row_once(
        self, sink: Datasink[Any], read_back: Callable[[], list[Row]]
    ) -> None:
        """The same blocks come with the same number of the task."""
        if not self.idempotent:
            pytest.skip("the sink says that it is not idempotent")
        sink.on_write_start()
        self.sent(sink).write(iter([self.table()]), TaskContext(0))
        self.finish(sink, [self.sent(sink).write(iter([self.table()]), TaskContext(0))])
        assert self.as_set(read_back()) == self.as_set(list(self.rows))

    def test_a_task_that_fails_half_way_leaves_nothing_after_the_failure(
        self, sink: Datasink[Any], read_back: Callable[[], list[Row]]
    ) -> None:
        """Neither its own rows, nor half of something."""

        def blocks() -> Any:
            yield self.table(0, 3)
            raise RuntimeError("no more rows")

        sink.on_write_start()
        with pytest.raises(RuntimeError, match="no more rows") as raised:
            self.sent(sink).write(blocks(), TaskContext(0))
        sink.on_write_failed(raised.value)
        assert read_back() == []

    def test_nothing_is_written_of_nothing(
        self, sink: Datasink[Any], read_back: Callable[[], list[Row]]
    ) -> None:
        """Tasks without rows are no error."""
        sink.on_write_start()
        empty = pa.table({"id": pa.array([], pa.int64()), "name": pa.array([], pa.string())})
        self.finish(sink, [self.sent(sink).write(iter([empty]), TaskContext(0))])
        assert read_back() == []

    def test_its_name_is_told(self, sink: Datasink[Any]) -> None:
        """Plans show it."""
        assert sink.get_name()
        assert concat([self.table()]).num_rows == len(self.rows)


__all__ = ["DatasinkContract", "DatasourceContract"]
