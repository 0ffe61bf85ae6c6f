"""The contracts of sources and sinks over our own, and what is written and read again in every format."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dask.dataframe
import datasets
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from real_servers import s3_server

import shoal.data
from shoal.data import col
from shoal.data.sinks.datasink import Datasink
from shoal.data.sinks.files import CsvWriter, FileDatasink, FileWriter, JsonWriter, ParquetWriter
from shoal.data.sinks.writers import OrcWriter, SqlDatasink, TfRecordWriter
from shoal.data.sources.collections import IndexedDatasource
from shoal.data.sources.datasource import Datasource
from shoal.data.sources.examples import decode_example, encode_example
from shoal.data.sources.files import FileDatasource, FileFormat
from shoal.data.sources.formats import CsvFormat, JsonFormat, ParquetFormat
from shoal.data.sources.memory import ItemsDatasource, RangeDatasource
from shoal.data.sources.paths import Partitioning, find_files
from shoal.data.sources.records import AvroFormat, OrcFormat, TfRecordFormat
from shoal.data.sources.sql import SqlDatasource
from shoal.data.testing import DatasinkContract, DatasourceContract

pytestmark = pytest.mark.usefixtures("inline")
ROWS = [{"id": n, "name": f"n{n}"} for n in range(20)]


class TestRange(DatasourceContract):
    @pytest.fixture
    def source(self) -> Datasource:
        return RangeDatasource(10)

    @pytest.fixture
    def rows(self) -> list[dict[str, Any]]:
        return [{"id": n} for n in range(10)]


class OfRows(DatasourceContract):
    @pytest.fixture
    def rows(self) -> list[dict[str, Any]]:
        return ROWS


class TestItems(OfRows):
    @pytest.fixture
    def source(self) -> Datasource:
        return ItemsDatasource(ROWS)


class TestIndexed(OfRows):
    @pytest.fixture
    def source(self) -> Datasource:
        return IndexedDatasource(ROWS)


class TestSql(OfRows):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Datasource:
        return SqlDatasource("select id, name from t order by id", a_table(tmp_path, ROWS))


def a_table(folder: Path, rows: list[dict[str, Any]]) -> Callable[[], sqlite3.Connection]:
    path = str(folder / "a.db")
    connection = sqlite3.connect(path)
    connection.execute("create table t (id integer primary key, name text)")
    connection.executemany("insert into t values (?, ?)", [tuple(row.values()) for row in rows])
    connection.commit()
    connection.close()
    return lambda: sqlite3.connect(path)


FORMATS: dict[str, tuple[FileFormat, FileWriter | None]] = {
    "parquet": (ParquetFormat(), ParquetWriter({"row_group_size": 3})),
    "csv": (CsvFormat(), CsvWriter()),
    "json": (JsonFormat(), JsonWriter()),
    "orc": (OrcFormat(), OrcWriter()),
}


@pytest.mark.parametrize("ending", FORMATS)
class TestFiles(OfRows):
    @pytest.fixture
    def source(self, tmp_path: Path, ending: str) -> Datasource:
        format_, writer = FORMATS[ending]
        assert writer is not None
        for number in range(3):
            with fs.LocalFileSystem().open_output_stream(str(tmp_path / f"{number}.{ending}")) as stream:
                writer.write(pa.Table.from_pylist(ROWS[number * 7 : number * 7 + 7]), stream)
        system, files = find_files([str(tmp_path)], None, [ending], False, None)
        return FileDatasource(format_, system, tuple(files))


@pytest.mark.parametrize("ending", FORMATS)
class TestFileSink(DatasinkContract):
    @pytest.fixture
    def sink(self, tmp_path: Path, ending: str) -> Datasink[Any]:
        writer = FORMATS[ending][1]
        assert writer is not None
        return FileDatasink(str(tmp_path / "out"), writer)

    @pytest.fixture
    def read_back(self, tmp_path: Path, ending: str) -> Callable[[], list[dict[str, Any]]]:
        def read() -> list[dict[str, Any]]:
            left = list((tmp_path / "out").iterdir())
            assert all(path.suffix == f".{ending}" for path in left), "nothing half written is left"
            if not left:
                return []
            return pyarrow.dataset.dataset(left, format=ending).to_table().to_pylist()

        return read


class TestSqlSink(DatasinkContract):
    idempotent = False

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Callable[[], sqlite3.Connection]:
        return a_table(tmp_path, [])

    @pytest.fixture
    def sink(self, connect: Callable[[], sqlite3.Connection]) -> Datasink[Any]:
        return SqlDatasink("insert into t values (?, ?)", connect)

    @pytest.fixture
    def read_back(self, connect: Callable[[], sqlite3.Connection]) -> Callable[[], list[dict[str, Any]]]:
        def read() -> list[dict[str, Any]]:
            connection = connect()
            rows = connection.execute("select id, name from t").fetchall()
            connection.close()
            return [{"id": row[0], "name": row[1]} for row in rows]

        return read


def test_a_query_is_cut_by_its_keys(tmp_path: Path) -> None:
    plain = a_table(tmp_path, ROWS)

    def connect() -> sqlite3.Connection:
        connection = plain()
        connection.create_function("SPREAD", 1, lambda value: int(value) * 7)
        connection.create_function("MOD", 2, lambda a, b: a % b)
        return connection

    dataset = shoal.data.read_sql(
        "select * from t", connect, shard_keys=["id"], shard_hash_fn="SPREAD", override_num_blocks=3
    )
    assert sorted(row["id"] for row in dataset.take_all()) == list(range(20))
    found = shoal.data.read_sql("select * from t where id < ?", plain, sql_params=(2,))
    assert [row["name"] for row in found.take_all()] == ["n0", "n1"]
    shoal.data.range(3).map(lambda row: {"id": row["id"] + 100, "name": None}).write_sql(
        "insert into t values (?, ?)", plain
    )
    assert shoal.data.read_sql("select * from t", plain).count() == 23


@pytest.mark.parametrize("driver", ["adbc_driver_sqlite.dbapi", "duckdb"])
def test_databases_that_speak_arrow_are_read_and_written_in_it(driver: str, tmp_path: Path) -> None:
    dbapi = pytest.importorskip(driver)
    path = str(tmp_path / "rides.db")

    def connect() -> Any:
        return importlib.import_module(driver).connect(path)

    with closing(dbapi.connect(path)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("create table t (id bigint, name text, fare double precision)")
        connection.commit()
    rows = [{"id": n, "name": None if n == 3 else f"n{n}", "fare": n / 2} for n in range(5000)]
    ds = shoal.data.from_items(rows, override_num_blocks=1)
    ds.write_sql("insert into t values (?, ?, ?)", connect)
    back = shoal.data.read_sql("select * from t", connect)
    assert sorted(back.take_all(), key=lambda row: row["id"]) == rows
    assert back.schema().names == ["id", "name", "fare"]
    assert back.limit(3).count() == 3
    assert shoal.data.read_sql("select * from t where id < 0", connect).count() == 0
    found = shoal.data.read_sql("select name from t where id = ?", connect, sql_params=(7,))
    assert found.take_all() == [{"name": "n7"}]


def test_examples_are_what_tensorflow_writes() -> None:
    # Example(features={"x": Int64List([1, -1])}), field by field as the message is defined.
    packed = bytes.fromhex("01ffffffffffffffffff01")
    feature = b"\x1a\x0d\x0a\x0b" + packed
    entry = b"\x0a\x01x\x12\x0f" + feature
    whole = b"\x0a\x16\x0a\x14" + entry
    assert encode_example({"x": [1, -1]}) == whole
    assert decode_example(whole) == {"x": [1, -1]}
    body = encode_example({"a": [1, -1], "b": "x", "c": 0.5, "d": None})
    assert decode_example(body) == {"a": [1, -1], "b": [b"x"], "c": [0.5], "d": []}
    with pytest.raises(TypeError, match="column 'd' cannot be a TFRecord feature"):
        encode_example({"d": {"e": 1}})


def test_tfrecords_go_out_and_come_back(tmp_path: Path) -> None:
    rows = [{"n": n, "f": n / 2, "text": f"t{n}".encode(), "list": [n, n + 1]} for n in range(5)]
    shoal.data.from_items(rows, override_num_blocks=2).write_tfrecords(tmp_path / "out")
    assert sorted(shoal.data.read_tfrecords(tmp_path / "out").take_all(), key=lambda row: row["n"]) == rows
    file = next((tmp_path / "out").iterdir())
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="is damaged") as raised:
        shoal.data.read_tfrecords(file).take_all()
    assert file.name in str(raised.value) + str(getattr(raised.value, "__notes__", ""))


def test_webdatasets_go_out_and_come_back(tmp_path: Path) -> None:
    picture = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    rows = [{"__key__": f"k{n}", "png": picture, "cls": n, "json": {"a": n}} for n in range(4)]
    shoal.data.from_items(rows, override_num_blocks=2).write_webdataset(tmp_path / "out")
    found = shoal.data.read_webdataset(tmp_path / "out").take_all()
    assert [row["__key__"] for row in found] == ["k0", "k1", "k2", "k3"]
    assert [row["cls"] for row in found] == [0, 1, 2, 3]
    assert found[0]["json"] == {"a": 0}
    assert np.asarray(found[0]["png"]).tolist() == picture.tolist()
    [row] = shoal.data.read_webdataset(tmp_path / "out", decoder=False, suffixes=["cls"]).take(1)
    assert row == {"__key__": "k0", "cls": b"0"}


def test_avro_is_read(tmp_path: Path) -> None:
    import fastavro

    schema = {
        "type": "record",
        "name": "r",
        "fields": [{"name": "id", "type": "long"}, {"name": "name", "type": "string"}],
    }
    with (tmp_path / "a.avro").open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(schema), ROWS)
    assert shoal.data.read_avro(tmp_path / "a.avro").take_all() == ROWS
    assert AvroFormat().name == "Avro"
    assert TfRecordFormat().name == "TFRecords"
    assert TfRecordWriter().extension == "tfrecords"


def test_pictures_go_out_and_come_back(tmp_path: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 255, (3, 4, 5, 3), dtype=np.uint8)
    shoal.data.from_numpy(pictures).write_images(tmp_path / "out", column="data")
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    batch = shoal.data.read_images(tmp_path / "out", override_num_blocks=1).take_batch(3)
    assert sorted(batch["image"].reshape(3, -1).tolist()) == sorted(pictures.reshape(3, -1).tolist())
    small = shoal.data.read_images(tmp_path / "out", size=(2, 2), mode="L").take(1)[0]
    assert small["image"].shape == (2, 2)


def test_collections_of_other_libraries_become_datasets() -> None:
    frame = pd.DataFrame(ROWS)
    hugging = datasets.Dataset.from_pandas(frame)
    assert shoal.data.from_huggingface(hugging).take_all() == ROWS
    assert shoal.data.from_huggingface(hugging.to_iterable_dataset()).take_all() == ROWS
    with pytest.raises(TypeError, match=r"dataset\['train'\]"):
        shoal.data.from_huggingface(datasets.DatasetDict({"train": hugging}))
    assert shoal.data.from_torch(ROWS).take_all() == ROWS
    assert shoal.data.from_torch(map(int, "12")).take_all() == [{"item": 1}, {"item": 2}]
    assert shoal.data.from_dask(dask.dataframe.from_pandas(frame, npartitions=2)).take_all() == ROWS
    refs = [shoal.put(frame)]
    assert shoal.data.from_pandas_refs(refs).take_all() == ROWS
    assert shoal.data.from_numpy_refs([shoal.put(np.arange(2))]).take_all() == [{"data": 0}, {"data": 1}]


def test_folders_say_what_is_in_them(tmp_path: Path) -> None:
    shoal.data.from_items(ROWS).add_column(
        "even", lambda batch: batch["id"] % 2 == 0, batch_format="numpy"
    ).write_parquet(tmp_path / "hive", partition_cols=["even"])
    found = shoal.data.read_parquet(
        tmp_path / "hive", partition_filter=lambda values: values["even"] == "True"
    )
    assert {row["even"] for row in found.take_all()} == {"True"}
    assert found.count() == 10
    for year in ("2023", "2024"):
        (tmp_path / "dir" / year / "05").mkdir(parents=True)
        (tmp_path / "dir" / year / "05" / "a.csv").write_text("x\n1\n")
    how = Partitioning("dir", field_names=["year", "month"], field_types={"year": int})
    rows = shoal.data.read_csv(tmp_path / "dir", partitioning=how).take_all()
    assert rows == [{"x": 1, "year": 2023, "month": "05"}, {"x": 1, "year": 2024, "month": "05"}]
    with pytest.raises(ValueError, match="lies in 2 folders"):
        shoal.data.read_csv(tmp_path / "dir", partitioning=Partitioning("dir", field_names=["year"]))


def test_modes_say_what_happens_to_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    shoal.data.range(3).write_parquet(out)
    shoal.data.range(2).write_parquet(out)
    assert shoal.data.read_parquet(out).count() == 5
    shoal.data.range(1).write_parquet(out, mode="ignore")
    assert shoal.data.read_parquet(out).count() == 5
    with pytest.raises(FileExistsError, match='mode="append"'):
        shoal.data.range(1).write_parquet(out, mode="error")
    shoal.data.range(4).write_parquet(out, mode="overwrite", compression="zstd")
    assert shoal.data.read_parquet(out).count() == 4
    assert {pq.ParquetFile(path).metadata.row_group(0).column(0).compression for path in out.iterdir()} == {
        "ZSTD"
    }
    with pytest.raises(ValueError, match="mode must be one of"):
        shoal.data.range(1).write_parquet(out, mode="replace")
    with pytest.raises(TypeError, match="unknown parameter modus"):
        shoal.data.range(1).write_json(out, modus="append")  # type: ignore[call-arg]


def test_files_lie_on_any_filesystem() -> None:
    memory = fsspec.filesystem("memory")
    shoal.data.range(5).write_csv("/some/where", filesystem=memory)
    assert shoal.data.read_csv("/some/where", filesystem=memory).count() == 5
    memory.rm("/some", recursive=True)


def test_a_real_s3_server_holds_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        system = fs.S3FileSystem(
            endpoint_override=address.removeprefix("http://"), scheme="http", allow_bucket_creation=True
        )
        system.create_dir("bucket")
        dataset = shoal.data.range(100, override_num_blocks=4).with_column("even", col("id") % 2)
        dataset.write_parquet("s3://bucket/numbers", partition_cols=["even"])
        found = shoal.data.read_parquet("s3://bucket/numbers").filter(expr=col("id") < 10)
        assert sorted((row["id"], row["even"]) for row in found.take_all()) == [
            (n, str(n % 2)) for n in range(10)
        ]
        assert shoal.data.read_parquet("s3://bucket/numbers/*/*.parquet").count() == 100
