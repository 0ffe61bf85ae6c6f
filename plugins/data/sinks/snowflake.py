"""Tables of Snowflake: how to connect, and rows that are inserted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

import attrs

from shoal.data.block import Block, rows_of
from shoal.data.checks import need
from shoal.data.sinks.datasink import Datasink, TaskContext
from shoal.errors import describe

_ROWS_AT_A_TIME = 4096  # of one INSERT: the statement is a text
_NAME = re.compile(r'(?:[A-Za-z_][\w$]*|"[^"]+")(?:\.(?:[A-Za-z_][\w$]*|"[^"]+")){0,2}')


@attrs.frozen(eq=False, repr=False)
class SnowflakeConnection:
    """Connects when it is called, wherever that is. Parameters are those of `snowflake.connector.connect`.

    Example: `SnowflakeConnection({"account": "xy12345", "user": "ada", "password": "…"})`
    """

    parameters: Mapping[str, Any]

    def __call__(self) -> Any:
        """Return a new connection. Raises ImportError without the package, and what the driver raises."""
        driver = need("snowflake.connector", "reading and writing Snowflake", "snowflake-connector-python")
        return driver.connect(**self.parameters)


@attrs.frozen(eq=False)
class SnowflakeDatasink(Datasink[int]):
    """Inserts rows into a table that is there, by the names of its columns. Each task's rows are one transaction.

    A worker that dies after it committed and before it said so has its rows inserted again.

    Parameters: `table` is a name, with its schema and database where the connection names none.
    Raises ValueError for what is no name of a table.

    Example: `ds.write_datasink(SnowflakeDatasink("rides", SnowflakeConnection(parameters)))`
    """

    table: str
    connect: SnowflakeConnection

    def __attrs_post_init__(self) -> None:
        given: Any = self.table
        if not isinstance(given, str) or not _NAME.fullmatch(given):
            raise ValueError(
                f"table must be a name such as rides or sales.public.rides, not {describe(given)}"
            )

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> int:
        """Insert rows; return how many. Raises what the database raises, and then nothing of this task is there."""
        written = 0
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("BEGIN")
            try:
                for block in blocks:
                    for start in range(0, block.num_rows, _ROWS_AT_A_TIME):
                        part = block.slice(start, _ROWS_AT_A_TIME)
                        columns = ", ".join(_quoted(name) for name in part.column_names)
                        places = ", ".join(["%s"] * part.num_columns)
                        statement = f"INSERT INTO {self.table} ({columns}) VALUES ({places})"
                        cursor.executemany(statement, [tuple(row.values()) for row in rows_of(part)])
                        written += part.num_rows
                cursor.execute("COMMIT")
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
        return written

    def describe(self) -> str:
        """Return what a person calls this sink."""
        return "Snowflake"


def _quoted(name: str) -> str:
    """A column's name as Snowflake takes it: as it is if it is plain, which is then case-insensitive, else quoted."""
    if re.fullmatch(r"[A-Za-z_][\w$]*", name):
        return name
    inner = name.replace('"', '""')
    return f'"{inner}"'
