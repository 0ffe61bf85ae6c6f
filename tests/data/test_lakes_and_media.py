"""Tables of Delta Lake, Iceberg and Lance, catalogues of tables, sounds and videos: written, read, and damaged."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import shoal.data
from shoal.data import Catalog, CatalogAccessMode, ReaderFormat, ResolvedSource, col

pytestmark = pytest.mark.usefixtures("session")
ROWS = [{"id": n, "city": "ab"[n % 2]} for n in range(10)]


def rides(blocks: int = 3) -> shoal.data.Dataset:
    return shoal.data.from_items(ROWS, override_num_blocks=blocks)


def ids(ds: shoal.data.Dataset) -> list[int]:
    return sorted(row["id"] for row in ds.take_all())


def fail(row: dict[str, Any]) -> dict[str, Any]:
    if row["id"] == 9:
        raise ValueError("nine")
    return row


def test_delta_tables_grow_by_one_version_with_each_write(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", minversion="20")  # what deltalake reads with
    deltalake = pytest.importorskip("deltalake")
    table = str(tmp_path / "rides")
    rides().write_delta(table, partition_by=["city"], description="of a day")
    rides().write_delta(table)
    assert deltalake.DeltaTable(table).version() == 2  # made, and two writes
    assert deltalake.DeltaTable(table).metadata().description == "of a day"
    assert deltalake.DeltaTable(table).to_pyarrow_table().num_rows == 20
    assert ids(shoal.data.read_delta(table, version=1)) == list(range(10))
    ds = (
        shoal.data.read_delta(table, include_paths=True)
        .filter(expr=col("city") == "a")
        .select_columns(["id", "path"])
    )
    assert "where (city ==" in ds.explain().split("As executed:")[1]
    assert ids(ds) == sorted([0, 2, 4, 6, 8] * 2)
    assert all("city=a" in row["path"] for row in ds.take_all())
    rides().limit(3).write_delta(table, mode="overwrite")
    assert shoal.data.read_delta(table).sort("id").take_all() == ROWS[:3]
    rides().write_delta(table, mode="ignore")
    assert shoal.data.read_delta(table).count() == 3
    with pytest.raises(FileExistsError, match="is a table"):
        rides().write_delta(table, mode="error")
    with pytest.raises(ValueError, match=r"partitioned by \['city'\]"):
        rides().write_delta(table, partition_by=["id"])


def test_delta_tables_take_new_columns_only_if_told_and_never_half_a_write(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", minversion="20")
    pytest.importorskip("deltalake")
    table = str(tmp_path / "rides")
    rides().write_delta(table)
    files = set(tmp_path.rglob("*.parquet"))
    more = rides().map(lambda row: {**row, "fare": 1.5})
    with pytest.raises(ValueError, match="has no column fare"):
        more.write_delta(table)
    with pytest.raises(ValueError, match="nine"):
        rides().map(fail).write_delta(table)
    assert set(tmp_path.rglob("*.parquet")) == files
    more.write_delta(table, schema_mode="merge")
    fares = [row["fare"] for row in shoal.data.read_delta(table).take_all()]
    assert sorted(fares, key=str) == [1.5] * 10 + [None] * 10


def test_tables_are_found_by_a_catalogue(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", minversion="20")
    pytest.importorskip("deltalake")
    asked: list[tuple[str, ReaderFormat, CatalogAccessMode]] = []

    class Folders(Catalog):
        def resolve(self, table: str, reader: ReaderFormat, mode: CatalogAccessMode) -> ResolvedSource:
            asked.append((table, reader, mode))
            return ResolvedSource(
                path=str(tmp_path / table.replace(".", "/")), data_format=ReaderFormat.DELTA
            )

    rides().write_delta("sales.rides", catalog=Folders())
    assert shoal.data.read_delta("sales.rides", catalog=Folders()).count() == 10
    assert asked == [
        ("sales.rides", ReaderFormat.DELTA, CatalogAccessMode.WRITE),
        ("sales.rides", ReaderFormat.DELTA, CatalogAccessMode.READ),
    ]
    with pytest.raises(ValueError, match="is delta, not parquet"):
        shoal.data.read_parquet("sales.rides", catalog=Folders())
    with pytest.raises(TypeError, match="Catalog is needed"):
        shoal.data.read_delta("x", catalog="unity")  # type: ignore[arg-type]


@pytest.fixture
def iceberg(tmp_path: Path) -> Iterator[dict[str, Any]]:
    pytest.importorskip("pyarrow", minversion="20")  # what pyiceberg reads with
    catalogs = pytest.importorskip("pyiceberg.catalog")
    pytest.importorskip("sqlalchemy")
    how = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}/lake"}
    catalog = catalogs.load_catalog("default", **how)
    catalog.create_namespace("sales")
    catalog.create_table("sales.rides", pa.schema({"id": pa.int64(), "city": pa.string()}))
    catalog.close()
    yield how
    threads = pytest.importorskip("pyiceberg.utils.concurrent").ExecutorFactory
    threads.get_or_create().shutdown()  # pyiceberg keeps its threads for the next scan
    threads._instance = None


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Delete operation did not match any records")
def test_iceberg_tables_are_written_by_one_commit_and_read(iceberg: dict[str, Any]) -> None:
    rides().write_iceberg("sales.rides", iceberg, snapshot_properties={"by": "test"})
    rides().map(lambda row: {**row, "id": row["id"] + 10}).write_iceberg("sales.rides", iceberg)
    ds = shoal.data.read_iceberg("sales.rides", catalog_kwargs=iceberg)
    assert ids(ds) == list(range(20))
    few = shoal.data.read_iceberg(
        "sales.rides", row_filter="id < 3", selected_fields=["id"], catalog_kwargs=iceberg
    )
    assert few.sort("id").take_all() == [{"id": 0}, {"id": 1}, {"id": 2}]
    rides().limit(2).write_iceberg("sales.rides", iceberg, mode="overwrite", overwrite_filter="id < 15")
    assert ids(shoal.data.read_iceberg("sales.rides", catalog_kwargs=iceberg)) == [0, 1, *range(15, 20)]
    with pytest.raises(ValueError, match="has no column fare; it has id, city"):
        rides().map(lambda row: {**row, "fare": 1.5}).write_iceberg("sales.rides", iceberg)
    with pytest.raises(ValueError, match="nine"):
        rides().map(fail).write_iceberg("sales.rides", iceberg)
    assert shoal.data.read_iceberg("sales.rides", catalog_kwargs=iceberg).count() == 7
    with pytest.raises(ValueError, match="mode must be"):
        rides().write_iceberg("sales.rides", iceberg, mode="ignore")


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
def test_lance_tables_are_written_by_one_commit_and_read(tmp_path: Path) -> None:
    pytest.importorskip("lance")
    table = str(tmp_path / "rides.lance")
    rides().write_lance(table, min_rows_per_file=1)
    rides().write_lance(table, mode="append", min_rows_per_file=1)
    assert ids(shoal.data.read_lance(table)) == sorted([*range(10)] * 2)
    assert ids(shoal.data.read_lance(table, version=1)) == list(range(10))
    few = shoal.data.read_lance(table, columns=["id"], filter=col("id") > 7)
    assert sorted(row["id"] for row in few.take_all()) == [8, 8, 9, 9]
    assert few.columns() == ["id"]
    with pytest.raises(FileExistsError, match="is a table"):
        rides().write_lance(table)
    with pytest.raises(FileNotFoundError, match="to append to"):
        rides().write_lance(str(tmp_path / "other.lance"), mode="append")
    with pytest.raises(ValueError, match="nine"):
        rides().map(fail).write_lance(table, mode="overwrite")
    rides().limit(1).write_lance(table, mode="overwrite")
    assert shoal.data.read_lance(table).take_all() == ROWS[:1]


def test_sounds_are_lists_of_numbers_for_each_channel(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    wave = np.sin(np.linspace(0, 100, 800, dtype=np.float32))
    soundfile.write(tmp_path / "mono.wav", wave, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.flac", np.stack([wave[:400], -wave[:400]], axis=1), 16000)
    mono, stereo = shoal.data.read_audio(str(tmp_path), include_paths=True).sort("sample_rate").take_all()
    np.testing.assert_array_equal(mono["amplitude"], [wave])
    np.testing.assert_allclose(stereo["amplitude"], [wave[:400], -wave[:400]], atol=1e-3)
    assert (mono["sample_rate"], stereo["sample_rate"]) == (8000, 16000)
    assert mono["path"].endswith("mono.wav")
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    with pytest.raises(soundfile.LibsndfileError, match=r"(?s)Format not recognised"):
        shoal.data.read_audio(str(tmp_path)).take_all()


def test_videos_are_frames(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            picture = np.full((48, 64, 3), number * 12, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    ds = shoal.data.read_videos(str(tmp_path), include_timestamps=True)
    frames = ds.take_batch(20)
    assert frames["frame"].shape == (20, 48, 64, 3)
    np.testing.assert_allclose(frames["frame"].mean(axis=(1, 2, 3)), np.arange(20) * 12, atol=4)
    np.testing.assert_allclose(frames["frame_timestamp"], np.arange(20) / 10)
    some = shoal.data.read_videos(str(tmp_path), fps=2, resize=(24, 32)).take_batch(20)
    assert some["frame"].shape == (4, 24, 32, 3)
    assert some["frame_index"].tolist() == [0, 5, 10, 15]
    with pytest.raises(ValueError, match="fps"):
        shoal.data.read_videos(str(tmp_path), fps=0)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(av.error.FFmpegError):
        shoal.data.read_videos(str(tmp_path)).take_all()


@pytest.fixture(scope="module")
def snowflake() -> Iterator[dict[str, Any]]:
    """A server that speaks Snowflake's protocol over DuckDB; how to connect to it."""
    fakesnow = pytest.importorskip("fakesnow")
    connector = pytest.importorskip("snowflake.connector")
    with fakesnow.server() as parameters:
        with connector.connect(**parameters) as connection, connection.cursor() as cursor:
            cursor.execute("create database d")
            cursor.execute("create schema d.s")
        yield {**parameters, "database": "D", "schema": "S"}


def test_tables_of_snowflake_are_read_and_written(snowflake: dict[str, Any]) -> None:
    connector = pytest.importorskip("snowflake.connector")
    with connector.connect(**snowflake) as connection, connection.cursor() as cursor:
        cursor.execute("create or replace table rides (id int, city varchar)")
    rides().write_snowflake("rides", snowflake)
    with pytest.raises(ValueError, match="nine"):
        rides().map(fail).repartition(1).write_snowflake("rides", snowflake)
    back = shoal.data.read_snowflake("select id, city from rides order by id", snowflake)
    assert back.rename_columns({"ID": "id", "CITY": "city"}).take_all() == ROWS
    pieces = shoal.data.read_snowflake(
        "select id from rides", snowflake, shard_keys=["id"], override_num_blocks=3
    )
    assert sorted(row["ID"] for row in pieces.take_all()) == list(range(10))
    with pytest.raises(ValueError, match="table must be a name"):
        rides().write_snowflake("rides; drop table rides", snowflake)
