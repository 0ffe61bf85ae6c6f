"""Services: ClickHouse by its own engine, Spark by itself. Each is tested where its packages are installed."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import shoal.data
from shoal.data import ClickHouseTableSettings
from shoal.data.sinks.clickhouse import type_of
from shoal.data.sources.clickhouse import ClickHouseConnection, ClickHouseDatasource, check_order, quoted

ROWS = [
    {"id": number, "city": f"c{number % 3}" if number % 4 else None, "fare": number / 2}
    for number in range(20)
]


def rides() -> shoal.data.Dataset:
    return shoal.data.from_items(ROWS, override_num_blocks=4)


@pytest.fixture(scope="module")
def clickhouse(inline: None) -> Iterator[str]:
    """A server's address."""
    pytest.importorskip("chdb")
    pytest.importorskip("clickhouse_connect")
    program = Path(__file__).with_name("clickhouse_server.py")
    server = subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdin is not None
    port = int(server.stdout.readline())
    yield f"clickhouse://default@127.0.0.1:{port}/default"
    server.stdin.close()
    server.wait(timeout=30)
    server.stdout.close()


def test_tables_are_made_written_and_read(clickhouse: str) -> None:
    rides().write_clickhouse("rides", clickhouse, table_settings=ClickHouseTableSettings(order_by="id"))
    read = shoal.data.read_clickhouse("rides", clickhouse, order_by=(["id"], False), override_num_blocks=3)
    assert read.take_all() == ROWS
    assert read.materialize().num_blocks() == 3
    assert shoal.data.read_clickhouse("default.rides", clickhouse).sort("id").take_all() == ROWS
    few = shoal.data.read_clickhouse(
        "rides", clickhouse, columns=["fare"], filter="id >= 18", order_by=(["id"], True)
    )
    assert few.take_all() == [{"fare": 9.5}, {"fare": 9.0}]
    chosen = shoal.data.read_clickhouse("rides", clickhouse).select_columns(["city"])
    assert chosen.columns() == ["city"]
    assert len(shoal.data.read_clickhouse("rides", clickhouse, order_by=(["id"], False)).take(5)) == 5
    none = shoal.data.read_clickhouse("rides", clickhouse, filter="id < 0")
    assert none.take_all() == []
    assert none.columns() == ["id", "city", "fare"]


def test_modes_say_what_becomes_of_a_table_that_is_there(clickhouse: str) -> None:
    def rows() -> int:
        return shoal.data.read_clickhouse("modes", clickhouse).count()

    rides().write_clickhouse("modes", clickhouse)
    with pytest.raises(FileExistsError, match="modes is a table"):
        rides().write_clickhouse("modes", clickhouse)
    rides().write_clickhouse("modes", clickhouse, mode="ignore")
    assert rows() == 20
    rides().write_clickhouse("modes", clickhouse, mode="append", max_insert_block_rows=2)
    assert rows() == 40
    rides().write_clickhouse("modes", clickhouse, mode="overwrite")
    assert rows() == 20


def test_values_of_many_types_come_back(clickhouse: str) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int32()),
            "flag": [True, None],
            "day": pa.array([datetime.date(2024, 2, 29), None]),
            "at": pa.array([datetime.datetime(2024, 2, 29, 12, 30, 1, 5), None], pa.timestamp("us")),
            "price": pa.array([None, decimal.Decimal("3.25")], pa.decimal128(10, 2)),
            "tags": [["a", None], []],
            "odd `name": ["ä", "b"],
        }
    )
    shoal.data.from_arrow(table).write_clickhouse("kinds", clickhouse)
    back = pa.Table.from_pylist(shoal.data.read_clickhouse("kinds", clickhouse).sort("id").take_all())
    at = back.column("at").to_pylist()
    assert (at[0].replace(tzinfo=None), at[1]) == (datetime.datetime(2024, 2, 29, 12, 30, 1, 5), None)
    plain = [name for name in table.column_names if name != "at"]
    assert back.select(plain).to_pylist() == table.select(plain).to_pylist()


def test_what_the_server_refuses_is_told(clickhouse: str) -> None:
    with pytest.raises(Exception, match=r"(?i)nowhere"):
        shoal.data.read_clickhouse("nowhere", clickhouse).take_all()


def test_wrong_parameters_are_told_before_anyone_is_asked() -> None:
    with pytest.raises(ValueError, match="table must be a name"):
        shoal.data.read_clickhouse("rides; drop table rides", "clickhouse://localhost")
    with pytest.raises(TypeError, match="order_by is columns"):
        check_order("id")
    with pytest.raises(TypeError, match="ClickHouse has no type for"):
        type_of(pa.map_(pa.string(), pa.int64()))
    assert quoted("a`b\\c") == "`a\\`b\\\\c`"
    source = ClickHouseDatasource("t", ClickHouseConnection("x"), ("a",), "a > 1", (("a",), True))
    assert source.query((5, 9), 2) == "SELECT `a` FROM t WHERE a > 1 ORDER BY `a` DESC LIMIT 2 OFFSET 5"


@pytest.mark.usefixtures("inline")
def test_frames_of_spark_come_and_go() -> None:
    pyspark = pytest.importorskip("pyspark.sql")
    session: Any = (
        pyspark.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    )
    try:
        frame = rides().to_spark(session)
        assert frame.count() == 20
        back = shoal.data.from_spark(frame.filter("id < 4"), override_num_blocks=2)
        assert back.take_all() == ROWS[:4]
        assert back.num_blocks() == 2
        with pytest.raises(TypeError, match="a SparkSession is needed"):
            rides().to_spark(None)
    finally:
        gateway = session.sparkContext._gateway
        session.stop()
        gateway.shutdown()
        gateway.proc.stdin.close()  # Spark's own process ends with it
        gateway.proc.wait(timeout=60)


def test_what_is_no_frame_of_spark_is_told() -> None:
    with pytest.raises(TypeError, match="a DataFrame of Spark is needed, not 3"):
        shoal.data.from_spark(3)
