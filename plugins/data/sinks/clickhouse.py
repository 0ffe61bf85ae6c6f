"""Rows that are inserted into a table of ClickHouse, which is made if it is not there."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import Block
from shoal.data.checks import check_count
from shoal.data.sinks.datasink import Datasink, TaskContext
from shoal.data.sinks.files import SaveMode
from shoal.data.sources.clickhouse import ClickHouseConnection, quoted, table_name

_PLAIN = {
    pa.bool_(): "Bool",
    pa.int8(): "Int8",
    pa.int16(): "Int16",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
    pa.float16(): "Float32",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    pa.date32(): "Date32",
    pa.date64(): "DateTime64(3)",
}
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}  # of a second


@attrs.frozen
class ClickHouseTableSettings:
    """How a table is made; each is SQL of the program's own.

    Parameters: `engine` is the table's engine; `order_by` (without it the rows have no order), `partition_by` and
    `primary_key` what stands behind these words, `settings` what stands behind SETTINGS.

    Example: `ClickHouseTableSettings(order_by="id", partition_by="toYYYYMM(day)")`
    """

    engine: str = "MergeTree()"
    order_by: str | None = None
    partition_by: str | None = None
    primary_key: str | None = None
    settings: str | None = None

    def clauses(self) -> str:
        """Return what stands behind the columns of CREATE TABLE."""
        parts = [f"ENGINE = {self.engine}"]
        if self.partition_by:
            parts.append(f"PARTITION BY {self.partition_by}")
        if self.primary_key:
            parts.append(f"PRIMARY KEY ({self.primary_key})")
        if self.order_by or "MergeTree" in self.engine:
            parts.append(f"ORDER BY ({self.order_by or self.primary_key or ''})")
        if self.settings:
            parts.append(f"SETTINGS {self.settings}")
        return " ".join(parts)


def _mode(given: Any) -> SaveMode:
    return SaveMode.of(given)


@attrs.define(eq=False)
class ClickHouseDatasink(Datasink[int]):
    """Inserts rows by the names of columns. Each insert of at most `max_insert_block_rows` rows is whole or none.

    A task that is tried again inserts its rows again; where the table's engine is a replicated one, ClickHouse drops an
    insert that is equal to a recent one.

    Parameters: `mode` is "create" (or "error": raise FileExistsError if the table is there), "append", "overwrite" (it
    is dropped first) or "ignore" (nothing is written then). The columns' types follow `schema` (Arrow's; None: that of
    the first rows), all of them nullable but lists and what the table is ordered by.

    Example: `ds.write_datasink(ClickHouseDatasink("rides", ClickHouseConnection(dsn), SaveMode.APPEND))`
    """

    table: str = attrs.field(converter=table_name)
    connect: ClickHouseConnection
    mode: SaveMode = attrs.field(default=SaveMode.CREATE, converter=_mode)
    schema: Any = None
    table_settings: ClickHouseTableSettings = attrs.field(factory=ClickHouseTableSettings)
    max_insert_block_rows: int | None = None
    skips: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        check_count("max_insert_block_rows", self.max_insert_block_rows)

    def on_write_start(self, schema: Any = None) -> None:
        """Look whether the table is there. Raises FileExistsError as the mode says, and what the driver raises."""
        with closing(self.connect()) as client:
            is_there = bool(int(client.command(f"EXISTS TABLE {self.table}")))
            if is_there and self.mode in (SaveMode.CREATE, SaveMode.ERROR):
                raise FileExistsError(
                    f'{self.table} is a table; mode="append" or "overwrite" writes there all the same'
                )
            self.skips = is_there and self.mode is SaveMode.IGNORE
            if is_there and self.mode is SaveMode.OVERWRITE:
                client.command(f"DROP TABLE {self.table}")
            if self.schema is not None:
                client.command(self._create(self.schema))

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> int:
        """Insert rows; return how many. Raises what the database raises."""
        written = 0
        with closing(self.connect()) as client:
            for block in blocks:
                if not block.num_columns:
                    continue
                if not written:
                    client.command(self._create(block.schema))
                step = self.max_insert_block_rows or max(1, block.num_rows)
                for start in range(0, block.num_rows, step):
                    client.insert_arrow(self.table, block.slice(start, step))
                written += block.num_rows
        return written

    def describe(self) -> str:
        """Return what a person calls this sink."""
        return "ClickHouse"

    def _create(self, schema: Any) -> str:
        ordered = f"{self.table_settings.order_by or ''},{self.table_settings.primary_key or ''}"
        columns = []
        for field in schema:
            kind = type_of(field.type)
            is_key = field.name in ordered
            columns.append(
                f"{quoted(field.name)} {kind if is_key or kind.startswith('Array') else f'Nullable({kind})'}"
            )
        return (
            f"CREATE TABLE IF NOT EXISTS {self.table} ({', '.join(columns)}) {self.table_settings.clauses()}"
        )


def type_of(kind: Any) -> str:
    """Return ClickHouse's name for an Arrow type. Raises TypeError for one that it does not have.

    Example: `type_of(pa.timestamp("ms"))  # "DateTime64(3)"`
    """
    if kind in _PLAIN:
        return _PLAIN[kind]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return "String"
    if pa.types.is_large_binary(kind) or pa.types.is_string_view(kind):
        return "String"
    if pa.types.is_timestamp(kind):
        zone = f", '{kind.tz}'" if kind.tz else ""
        return f"DateTime64({_DIGITS[kind.unit]}{zone})"
    if pa.types.is_decimal(kind):
        return f"Decimal({kind.precision}, {kind.scale})"
    if pa.types.is_dictionary(kind):
        return type_of(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = type_of(kind.value_type)
        return f"Array({inner if inner.startswith('Array') else f'Nullable({inner})'})"
    raise TypeError(f"ClickHouse has no type for {kind}; cast the column, or leave it out")
