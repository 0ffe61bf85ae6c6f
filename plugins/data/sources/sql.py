"""Rows of a query to a database, by Python's own interface (PEP 249)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import Block
from shoal.data.sources.datasource import Datasource, ReadTask
from shoal.data.sources.records import in_tables


@attrs.frozen(eq=False)
class SqlDatasource(Datasource):
    """A query. It is run as a whole by one task, unless `shard_keys` say how to cut it.

    Drivers that give Arrow (those of ADBC, DuckDB and Snowflake) are asked for that.

    Parameters: `connect` returns a new connection; it travels to tasks. With `shard_keys`, piece i of n asks for the
    rows where `MOD(ABS(shard_hash(keys)), n) = i`, in the database's SQL.

    Example: `read_datasource(SqlDatasource("select * from rides", lambda: sqlite3.connect("rides.db")))`
    """

    sql: str
    connect: Callable[[], Any]
    params: Any = None
    shard_keys: tuple[str, ...] = ()
    shard_hash: str = "MD5"

    def estimate_inmemory_data_size(self) -> int | None:
        """Nothing is known before the query has run."""
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return one piece, or `parallelism` of them where the query can be cut."""
        if not self.shard_keys or parallelism < 2:
            return [ReadTask(_Query(self.sql, self.connect, self.params, per_task_row_limit))]
        keys = ", ".join(self.shard_keys)
        where = f"CONCAT({keys})" if len(self.shard_keys) > 1 else keys
        return [
            ReadTask(
                _Query(self._piece(where, number, parallelism), self.connect, self.params, per_task_row_limit)
            )
            for number in range(parallelism)
        ]

    def _piece(self, where: str, number: int, count: int) -> str:
        # The SQL is the program's own; nothing in it comes from elsewhere.
        test = f"MOD(ABS({self.shard_hash}({where})), {count}) = {number}"
        return f"SELECT * FROM ({self.sql}) AS shard WHERE {test}"

    def describe(self) -> str:
        """Return what a person calls this source."""
        return "SQL"


@attrs.frozen(eq=False)
class _Query:
    sql: str
    connect: Callable[[], Any]
    params: Any
    limit: int | None

    def __call__(self) -> Iterator[Block]:
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(self.sql, self.params) if self.params is not None else cursor.execute(self.sql)
            # In this order: DuckDB's, ADBC's (and that of older DuckDB), and Snowflake's word for it.
            words = ("to_arrow_reader", "fetch_record_batch", "fetch_arrow_batches")
            as_arrow = next((word for word in words if hasattr(cursor, word)), None)
            if as_arrow is not None:
                yield from self._tables(getattr(cursor, as_arrow)())
            else:
                names = [each[0] for each in cursor.description]
                yield from in_tables(self._rows(cursor, names))

    def _tables(self, batches: Iterable[Any]) -> Iterator[Block]:
        left = self.limit
        schema = getattr(batches, "schema", None)
        if schema is not None:
            yield schema.empty_table()
        for batch in batches:
            table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
            yield table if left is None else table.slice(0, left)
            if left is not None:
                left -= min(left, table.num_rows)
                if not left:
                    return

    def _rows(self, cursor: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        given = 0
        while rows := cursor.fetchmany(1024):
            for row in rows:
                yield dict(zip(names, row, strict=True))
                given += 1
                if given == self.limit:
                    return
