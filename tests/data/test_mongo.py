"""Collections of MongoDB, on a real server of its protocol."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pymongo
import pytest
from bson import Regex
from real_servers import Mongo

import shoal
from shoal.data.sinks.mongo import document
from shoal.data.sources.mongo import MongoCollection, MongoDatasource, check_pipeline

ROWS = [{"n": n, "city": ["Ulm", "Köln"][n % 2], "fare": n / 2, "stops": [n, n + 1]} for n in range(500)]


@pytest.fixture(scope="module")
def mongo(inline: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server's address."""
    server = Mongo(tmp_path_factory.mktemp("mongo"))
    server.start()
    yield server.url()
    server.kill()


def read(mongo: str, name: str, **how: Any) -> list[dict[str, Any]]:
    rows = shoal.data.read_mongo(mongo, "city", name, **how).take_all()
    return sorted(({**row, "_id": None} for row in rows), key=lambda row: row["n"])


def test_rows_are_documents_and_documents_rows(mongo: str) -> None:
    shoal.data.from_items(ROWS, override_num_blocks=4).write_mongo(mongo, "city", "rides")
    expected = [{**row, "_id": None} for row in ROWS]
    assert read(mongo, "rides", override_num_blocks=1) == expected
    in_pieces = shoal.data.read_mongo(mongo, "city", "rides", override_num_blocks=5)
    assert in_pieces.materialize().num_blocks() == 5
    assert read(mongo, "rides", override_num_blocks=5) == expected
    assert in_pieces.count() == 500
    assert len(in_pieces.take(7)) == 7
    assert in_pieces.select_columns(["fare"]).sort("fare").take(2) == [{"fare": 0.0}, {"fare": 0.5}]


def test_aggregations_are_cut_only_where_that_is_right(mongo: str) -> None:
    shoal.data.from_items(ROWS).write_mongo(mongo, "city", "agg")
    where = MongoCollection(mongo, "city", "agg")
    few: list[dict[str, Any]] = [{"$match": {"n": {"$gte": 490}}}, {"$project": {"_id": 0, "n": 1}}]
    assert len(MongoDatasource(where, few).get_read_tasks(4)) == 4
    asked = shoal.data.read_mongo(mongo, "city", "agg", pipeline=few, override_num_blocks=4)
    assert sorted(row["n"] for row in asked.take_all()) == list(range(490, 500))
    sums = [{"$group": {"_id": "$city", "fares": {"$sum": "$fare"}}}, {"$sort": {"_id": 1}}]
    assert len(MongoDatasource(where, sums).get_read_tasks(4)) == 1
    asked = shoal.data.read_mongo(mongo, "city", "agg", pipeline=sums, override_num_blocks=4)
    assert asked.take_all() == [{"_id": "Köln", "fares": 31250.0}, {"_id": "Ulm", "fares": 31125.0}]


def test_what_has_an_id_is_written_once_however_often(mongo: str) -> None:
    shoal.data.from_items([{"n": 1, "fare": 2.0}, {"n": 2, "fare": 3.0}]).write_mongo(mongo, "city", "twice")
    for factor in (2.0, 10.0):
        back = shoal.data.read_mongo(mongo, "city", "twice")
        back.map(lambda row, by=factor: {**row, "fare": row["fare"] * by}).write_mongo(mongo, "city", "twice")
    assert [row["fare"] for row in read(mongo, "twice")] == [40.0, 60.0]


def test_modes_say_what_becomes_of_what_is_there(mongo: str) -> None:
    rows = shoal.data.from_items([{"n": 1}, {"n": 2}])
    rows.write_mongo(mongo, "city", "modes", mode="create")
    with pytest.raises(FileExistsError, match=r"city\.modes has documents"):
        rows.write_mongo(mongo, "city", "modes", mode="error")
    rows.write_mongo(mongo, "city", "modes", mode="ignore")
    assert len(read(mongo, "modes")) == 2
    rows.write_mongo(mongo, "city", "modes")
    assert len(read(mongo, "modes")) == 4
    rows.write_mongo(mongo, "city", "modes", mode="overwrite")
    assert len(read(mongo, "modes")) == 2


def test_values_of_many_types_come_back(mongo: str) -> None:
    row = {
        "n": 2**40,
        "text": "naïve 🐟",
        "raw": b"\x00\xff",
        "when": datetime.datetime(2026, 5, 1, 12, 30),
        "price": decimal.Decimal("12.50"),
        "inner": {"a": 1, "b": ["x", None]},
        "none": None,
        "yes": True,
    }
    shoal.data.from_arrow(pa.Table.from_pylist([row])).write_mongo(mongo, "city", "kinds")
    [back] = read(mongo, "kinds")
    assert {name: back[name] for name in row} == row
    day = document({"day": datetime.date(2026, 5, 1), "_id": None})
    assert day == {"day": datetime.datetime(2026, 5, 1)}


def test_a_schema_holds_where_documents_differ(mongo: str) -> None:
    with closing(pymongo.MongoClient[dict[str, Any]](mongo)) as client:
        client["city"]["ragged"].insert_many([{"n": 1}, {"n": 2, "fare": 3}, {"fare": 2.5, "n": 3}])
    schema = pa.schema({"n": pa.int32(), "fare": pa.float64()})
    read_as = shoal.data.read_mongo(mongo, "city", "ragged", schema=schema)
    rows = sorted(read_as.take_all(), key=lambda row: row["n"])
    assert rows == [{"n": 1, "fare": None}, {"n": 2, "fare": 3.0}, {"n": 3, "fare": 2.5}]
    assert shoal.data.read_mongo(mongo, "city", "nothing_here").take_all() == []


def test_what_cannot_be_is_told(mongo: str) -> None:
    with closing(pymongo.MongoClient[dict[str, Any]](mongo)) as client:
        client["city"]["odd"].insert_one({"n": 1, "inner": {"rule": Regex("a+")}})
    with pytest.raises(Exception, match=r"field 'inner.rule' holds a Regex.*leave it out") as caught:
        shoal.data.read_mongo(mongo, "city", "odd").take_all()
    assert isinstance(caught.value, TypeError)
    with pytest.raises(ValueError, match=r"\$out writes"):
        shoal.data.read_mongo(mongo, "city", "odd", pipeline=[{"$out": "other"}])
    with pytest.raises(ValueError, match="a mapping with one key that begins with"):
        check_pipeline([{"match": {}}])
    with pytest.raises(TypeError, match="a list of stages"):
        check_pipeline("$match")
    with pytest.raises(ValueError, match="collection is text that is not empty"):
        shoal.data.read_mongo(mongo, "city", "")
    nobody = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200"
    with pytest.raises(pymongo.errors.ServerSelectionTimeoutError):
        shoal.data.from_items([{"n": 1}]).write_mongo(nobody, "city", "rides")
