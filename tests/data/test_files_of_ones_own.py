"""Formats, names and partitions of files that a program knows itself, and sources and sinks of its own."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pytest

import shoal.data
from shoal.data import FileShuffleConfig, Partitioning, ReadTask, col
from shoal.data.partitions import PartitionStyle, PathPartitionFilter, PathPartitionParser
from shoal.data.sinks.datasink import Datasink, DummyOutputDatasink, TaskContext, WriteResult
from shoal.data.sinks.files import FilenameProvider
from shoal.data.sinks.own_files import BlockBasedFileDatasink, RowBasedFileDatasink
from shoal.data.sources.memory import RandomIntRowDatasource
from shoal.data.sources.own_files import (
    BaseFileMetadataProvider,
    DefaultFileMetadataProvider,
    FileBasedDatasource,
)

pytestmark = pytest.mark.usefixtures("session")


class Lines(FileBasedDatasource):
    def _read_stream(self, stream: Any, path: str) -> Iterator[Any]:
        yield {"line": stream.read().decode().splitlines()}


class TextDatasink(RowBasedFileDatasink):
    def write_row_to_file(self, row: dict[str, Any], file: Any) -> None:
        file.write(row["line"].encode())


class JoinedDatasink(BlockBasedFileDatasink):
    def write_block_to_file(self, block: Any, file: Any) -> None:
        if "bad" in block["line"].to_pylist():
            raise ValueError("a bad line")
        file.write("\n".join(block["line"].to_pylist()).encode())


def test_files_of_a_format_of_ones_own_are_written_and_read(tmp_path: Path) -> None:
    ds = shoal.data.from_items([{"line": name} for name in "abcd"], override_num_blocks=2)
    ds.write_datasink(TextDatasink(str(tmp_path / "rows"), file_format="txt"))
    assert len(list((tmp_path / "rows").glob("*.txt"))) == 4
    ds.write_datasink(JoinedDatasink(str(tmp_path / "blocks"), min_rows_per_file=4, dataset_uuid="letters"))
    [file] = (tmp_path / "blocks").iterdir()
    assert file.name.startswith("letters_")
    assert file.read_text() == "a\nb\nc\nd"
    read = shoal.data.read_datasource(
        Lines(str(tmp_path / "rows"), include_paths=True, file_extensions=["txt"])
    )
    assert sorted(row["line"] for row in read.take_all()) == list("abcd")
    assert read.filter(expr=col("line") == "a").count() == 1
    sink = JoinedDatasink(str(tmp_path / "bad"))
    with pytest.raises(ValueError, match="a bad line"):
        shoal.data.from_items([{"line": "bad"}, {"line": "good"}], override_num_blocks=2).write_datasink(sink)
    assert list((tmp_path / "bad").iterdir()) == []


def test_names_of_files(tmp_path: Path) -> None:
    class Named(FilenameProvider):
        def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
            return f"part-{task_index}.csv"

    shoal.data.range(2, override_num_blocks=2).write_csv(str(tmp_path), filename_provider=Named())
    assert {path.name.partition("_")[2] for path in tmp_path.iterdir()} == {"part-0.csv", "part-1.csv"}


def test_folders_are_parsed_and_filtered(tmp_path: Path) -> None:
    for year in (2023, 2024):
        shoal.data.range(2).write_csv(str(tmp_path / f"year={year}" / "x"))
    parser = PathPartitionParser.of(base_dir=str(tmp_path))
    assert parser(f"{tmp_path}/year=2024/x/a.csv") == {"year": "2024"}
    assert parser("/elsewhere/year=2024/a.csv") == {}
    assert parser.evaluate_predicate_on_partition(f"{tmp_path}/year=2024/a", col("year") == "2024") is True
    assert parser.evaluate_predicate_on_partition(f"{tmp_path}/year=2024/a", col("month") == "1") is None
    wanted = PathPartitionFilter.of(lambda values: values["year"] == "2024", base_dir=str(tmp_path))
    assert shoal.data.read_csv(str(tmp_path), partition_filter=wanted).unique("year") == ["2024"]
    assert wanted([f"{tmp_path}/year=2023/a", f"{tmp_path}/year=2024/a"]) == [f"{tmp_path}/year=2024/a"]
    plain = Partitioning(PartitionStyle.DIRECTORY, str(tmp_path), ["folder", "part"], {"part": str})
    assert plain.of(f"{tmp_path}/year=2024/x/a.csv", "/") == {"folder": "year=2024", "part": "x"}
    arrow = pyarrow.dataset.dataset(
        str(tmp_path), format="csv", partitioning=Partitioning("hive").to_pyarrow()
    )
    assert arrow.to_table()["year"].unique().to_pylist() == [2023, 2024]


def test_files_are_shuffled_anew_in_each_execution_and_alike_with_a_seed(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"{number}\n")

    def orders(config: FileShuffleConfig) -> list[list[str]]:
        ds = shoal.data.read_text(str(tmp_path), shuffle=config, override_num_blocks=1)
        return [[row["text"] for row in ds.take_all()] for _ in range(2)]

    first, second = orders(FileShuffleConfig(seed=1))
    assert first != second
    assert orders(FileShuffleConfig(seed=1)) == [first, second]
    same, again = orders(FileShuffleConfig(seed=1, reseed_after_execution=False))
    assert same == again
    assert sorted(first) == [str(number) for number in range(8)]


def test_streams_are_opened_as_they_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(gzip.compress(b"a\nb\n"))
    ds = shoal.data.read_text(str(tmp_path), arrow_open_stream_args={"compression": "gzip"})
    assert [row["text"] for row in ds.take_all()] == ["a", "b"]
    assert FileBasedDatasource.resolve_compression("a.csv.gz", {}) == "gzip"
    assert FileBasedDatasource.resolve_compression("a.csv", {}) is None
    assert FileBasedDatasource.resolve_compression("a.csv", {"compression": "zstd"}) == "zstd"


def test_what_finds_files_may_be_ones_own(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("bb")

    class Index(BaseFileMetadataProvider):
        def expand_paths(self, paths: Any, filesystem: Any, *more: Any) -> Iterator[tuple[str, int | None]]:
            yield str(tmp_path / "b.txt"), 2

    ds = shoal.data.read_datasource(Lines(str(tmp_path), meta_provider=Index()))
    assert ds.take_all() == [{"line": "bb"}]
    assert DefaultFileMetadataProvider()([str(tmp_path)]) == 3


class OneAtATime(Datasink[int]):
    """Fails if two tasks write at once."""

    def __init__(self, folder: Path) -> None:
        self.lock = folder / "lock"

    @property
    def supports_distributed_writes(self) -> bool:
        return False

    def write(self, blocks: Iterable[Any], ctx: TaskContext) -> int:
        self.lock.touch(exist_ok=False)
        rows = sum(block.num_rows for block in blocks)
        self.lock.unlink()
        return rows


def test_sinks_of_ones_own(tmp_path: Path) -> None:
    ds = shoal.data.range(40, override_num_blocks=8)
    ds.write_datasink(OneAtATime(tmp_path))
    counted = DummyOutputDatasink()
    ds.write_datasink(counted)
    assert (counted.rows_written, counted.num_ok, counted.num_failed) == (40, 1, 0)
    one = WriteResult(1, 2, ["a"])
    assert WriteResult.combine(one, one) == WriteResult(2, 4, ["a", "a"])


def test_sources_say_what_they_can_leave_out() -> None:
    source = RandomIntRowDatasource(10, num_columns=2)
    drawn = shoal.data.read_datasource(source, override_num_blocks=3).take_all()
    assert len(drawn) == 10
    assert set(drawn[0]) == {"c_0", "c_1"}
    assert drawn == shoal.data.read_datasource(source, override_num_blocks=3).take_all()
    assert not source.supports_projection_pushdown()
    with pytest.raises(NotImplementedError, match="cannot leave columns unread"):
        source.apply_projection({"c_0": "c_0"})
    task = ReadTask(lambda: [pa.table({"x": [1, 2]})] * 3, per_task_row_limit=3)
    assert [table.num_rows for table in task()] == [2, 1]


def test_files_can_leave_rows_and_columns_out(tmp_path: Path) -> None:
    from shoal.data.sources.files import FileDatasource
    from shoal.data.sources.formats import ParquetFormat
    from shoal.data.sources.paths import find_files

    shoal.data.from_items([{"x": n, "y": -n} for n in range(4)]).write_parquet(str(tmp_path))
    system, files = find_files([str(tmp_path)], None, None, False, None)
    source = FileDatasource(ParquetFormat(), system, tuple(files))
    narrowed = source.apply_projection({"x": "x"}).apply_predicate(col("x") > 1)
    assert shoal.data.read_datasource(narrowed).take_all() == [{"x": 2}, {"x": 3}]
    assert narrowed.get_projection_map() == {"x": "x"}
    assert str(narrowed.get_current_predicate()) == "(x > 1)"
    with pytest.raises(ValueError, match="own names"):
        source.apply_projection({"x": "z"})
