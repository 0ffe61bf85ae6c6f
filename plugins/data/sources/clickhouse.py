"""Tables of ClickHouse: how to connect, names as SQL takes them, and rows that come as Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import Block
from shoal.data.checks import check_names, need
from shoal.data.sources.datasource import BlockMetadata, Datasource, ReadTask
from shoal.data.sources.memory import cut
from shoal.errors import describe

_TABLE = re.compile(r"(?:[A-Za-z_]\w*|`[^`]+`)(?:\.(?:[A-Za-z_]\w*|`[^`]+`))?")


@attrs.frozen(eq=False, repr=False)
class ClickHouseConnection:
    """Connects when it is called, wherever that is.

    Parameters: `dsn` is such as "clickhouse://user:password@host:8123/database"; `settings` are the server's, for each
    query, and `options` further ones of `clickhouse_connect.get_client`.

    Example: `ClickHouseConnection("clickhouse://default@localhost:8123/default")`
    """

    dsn: str
    settings: Mapping[str, Any] = attrs.field(factory=dict)
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def __call__(self) -> Any:
        """Return a new client. Raises ImportError without clickhouse-connect, and what the driver raises."""
        driver = need("clickhouse_connect", "reading and writing ClickHouse", "clickhouse-connect")
        return driver.get_client(dsn=self.dsn, settings=dict(self.settings), **self.options)


def table_name(table: Any) -> str:
    """Return the name of a table, which may have a database before it. Raises ValueError for what is none.

    Example: `table_name("sales.rides")`
    """
    if not isinstance(table, str) or not _TABLE.fullmatch(table):
        raise ValueError(f"table must be a name such as rides or sales.rides, not {describe(table)}")
    return table


def quoted(name: str) -> str:
    """Return a column's name as ClickHouse takes it, whatever is in it.

    Example: `quoted("total fare")  # "`total fare`"`
    """
    inner = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{inner}`"


@attrs.frozen(eq=False)
class ClickHouseDatasource(Datasource):
    """A table, or some of its columns and rows. With an order it is read in pieces, else by one task.

    Parameters: `filter` is what stands behind WHERE; it and `table` are the program's own SQL. `order_by` are columns,
    and whether they fall; the pieces are whole only if these columns leave no doubt about the order.

    Example: `read_datasource(ClickHouseDatasource("rides", ClickHouseConnection(dsn), order_by=(("id",), False)))`
    """

    table: str = attrs.field(converter=table_name)
    connect: ClickHouseConnection
    columns: tuple[str, ...] | None = None
    filter: str | None = None
    order_by: tuple[tuple[str, ...], bool] | None = None

    def estimate_inmemory_data_size(self) -> int | None:
        """Nothing is known before the query has run."""
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return one piece, or with an order stretches of nearly equal length."""
        if self.order_by is None or parallelism < 2:
            return [ReadTask(_Query(self, None, per_task_row_limit))]
        with closing(self.connect()) as client:
            rows = int(client.command(f"SELECT count() FROM {self.table}{self._where()}"))
        pieces = cut(rows, parallelism) if rows else [(0, 0)]
        return [
            ReadTask(_Query(self, (start, stop), per_task_row_limit), BlockMetadata(num_rows=stop - start))
            for start, stop in pieces
        ]

    def project(self, columns: Sequence[str]) -> ClickHouseDatasource:
        """Return the same source with these columns only."""
        return attrs.evolve(self, columns=tuple(columns))

    def query(self, stretch: tuple[int, int] | None, limit: int | None) -> str:
        """Return the SQL of a stretch of rows, of all without one, or of the first `limit` of them."""
        names = "*" if self.columns is None else ", ".join(map(quoted, self.columns))
        order = ""
        if self.order_by is not None:
            keys, falls = self.order_by
            order = " ORDER BY " + ", ".join(f"{quoted(key)} {'DESC' if falls else 'ASC'}" for key in keys)
        start, stop = stretch or (0, None)
        length = None if stop is None else stop - start
        if limit is not None:
            length = limit if length is None else min(length, limit)
        within = "" if length is None else f" LIMIT {length} OFFSET {start}"
        return f"SELECT {names} FROM {self.table}{self._where()}{order}{within}"

    def describe(self) -> str:
        """Return what a person calls this source."""
        return "ClickHouse"

    def _where(self) -> str:
        return f" WHERE {self.filter}" if self.filter else ""


@attrs.frozen(eq=False)
class _Query:
    source: ClickHouseDatasource
    stretch: tuple[int, int] | None
    limit: int | None

    def __call__(self) -> Iterator[Block]:
        source = self.source
        with closing(source.connect()) as client:
            # Text as text: ClickHouse's own strings are bytes otherwise.
            told = {"output_format_arrow_string_as_string": 1}
            query = source.query(self.stretch, self.limit)
            empty = True
            with client.query_arrow_stream(query, settings=told) as batches:
                for batch in batches:
                    empty = False
                    yield batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
            if empty:
                yield client.query_arrow(source.query((0, 0), None), settings=told)


def check_order(order_by: Any) -> tuple[tuple[str, ...], bool] | None:
    """Return (columns, whether they fall) as it is kept. Raises TypeError or ValueError for anything else.

    Example: `check_order((["id"], False))`
    """
    if order_by is None:
        return None
    if not isinstance(order_by, (tuple, list)) or len(order_by) != 2 or not isinstance(order_by[1], bool):
        raise TypeError(
            f'order_by is columns and whether they fall, such as (["id"], False), not {describe(order_by)}'
        )
    return tuple(check_names("order_by", order_by[0])), order_by[1]
