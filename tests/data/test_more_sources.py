"""Zarr's arrays, MCAP's messages, and what single readers can be told besides."""

from __future__ import annotations

import io
import json
import logging
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoal.data
from shoal.data import FileShuffleConfig, SinkMode, TaskPoolStrategy
from shoal.data.aggregate import AbsMax, Max, Min
from shoal.data.sources.memory import RangeDatasource
from shoal.data.sources.scientific import TimeRange

pytestmark = pytest.mark.usefixtures("session")


def test_arrays_of_zarr_are_columns(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", minversion="3")
    group = zarr.open_group(str(tmp_path / "store"), mode="w")
    group.create_array("temperature", data=np.arange(20.0).reshape(10, 2), chunks=(3, 2))
    group.create_array("inside/day", data=np.arange(10), chunks=(5,))
    group.create_array("names", data=np.arange(2), chunks=(2,))
    ds = shoal.data.read_zarr(str(tmp_path / "store"), override_num_blocks=4)
    batch = ds.take_batch(20)
    np.testing.assert_array_equal(batch["temperature"], np.arange(20.0).reshape(10, 2))
    np.testing.assert_array_equal(batch["inside/day"], np.arange(10))
    assert set(batch) == {"temperature", "inside/day"}
    assert shoal.data.read_zarr(str(tmp_path / "store"), array_paths=["names"]).take_all() == [
        {"names": 0},
        {"names": 1},
    ]
    with pytest.raises(KeyError, match="no array sea; there are"):
        shoal.data.read_zarr(str(tmp_path / "store"), array_paths=["sea"]).take_all()
    with pytest.raises(ValueError, match="as many rows"):
        shoal.data.read_zarr(str(tmp_path / "store"), array_paths=["names", "temperature"]).take_all()


def test_messages_of_mcap_are_rows(tmp_path: Path) -> None:
    writers = pytest.importorskip("mcap.writer")
    with (tmp_path / "drive.mcap").open("wb") as file:
        writer = writers.Writer(file)
        writer.start()
        schema = writer.register_schema(name="Speed", encoding="jsonschema", data=b"{}")
        speed = writer.register_channel(topic="/speed", message_encoding="json", schema_id=schema)
        raw = writer.register_channel(topic="/raw", message_encoding="cdr", schema_id=0)
        for n in range(4):
            data = json.dumps({"v": n}).encode()
            writer.add_message(channel_id=speed, log_time=n, publish_time=n + 1, data=data, sequence=n)
        writer.add_message(channel_id=raw, log_time=9, publish_time=9, data=b"\x00", sequence=0)
        writer.finish()
    rows = shoal.data.read_mcap(str(tmp_path), topics="/speed", time_range=(1, 3)).take_all()
    assert [(row["data"], row["log_time"], row["publish_time"]) for row in rows] == [
        ({"v": 1}, 1, 2),
        ({"v": 2}, 2, 3),
    ]
    assert rows[0]["schema_name"] == "Speed"
    only = shoal.data.read_mcap(str(tmp_path), topics=["/raw"], include_metadata=False).take_all()
    assert only == [{"data": b"\x00", "topic": "/raw", "log_time": 9, "publish_time": 9, "sequence": 0}]
    assert shoal.data.read_mcap(str(tmp_path), message_types=["Speed"]).count() == 4
    with pytest.raises(ValueError, match="before end_time"):
        TimeRange(3, 3)


def test_members_of_a_webdataset_are_chosen_renamed_and_expanded(tmp_path: Path, caplog: Any) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, data in (
            ("a.json", b'{"label": 3, "kind": "x"}'),
            ("a.text", b"hello"),
            ("a.bin", b"\x00"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    read = shoal.data.read_webdataset
    [row] = read(
        str(tmp_path), fileselect=["*.json", "*.text"], filerename={"text": "txt"}, expand_json=True
    ).take_all()
    assert row == {"__key__": "a", "label": 3, "kind": "x", "txt": "hello"}
    [row] = read(str(tmp_path), fileselect=lambda name: name.endswith("bin"), filerename=str.upper).take_all()
    assert row == {"__key__": "A", "BIN": b"\x00"}
    with caplog.at_level(logging.INFO, logger="shoal.data"):
        assert read(str(tmp_path), verbose_open=True).count() == 1


def test_pickled_arrays_are_read_only_if_told(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array(["a", None], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        shoal.data.read_numpy(str(tmp_path)).take_all()
    assert shoal.data.read_numpy(str(tmp_path), allow_pickle=True).take_all() == [
        {"data": "a"},
        {"data": None},
    ]


def test_what_stands_for_no_values() -> None:
    ds = shoal.data.from_items([{"k": 1, "x": None}, {"k": 2, "x": -3}]).map(lambda row: row)
    found = ds.aggregate(Min("x", zero_factory=lambda: 0), AbsMax("x", zero_factory=lambda: 0))
    assert found == {"min(x)": -3, "abs_max(x)": 3}
    groups = ds.groupby("k").aggregate(Max("x", zero_factory=lambda: 7)).sort("k").take_all()
    assert groups == [{"k": 1, "max(x)": 7}, {"k": 2, "max(x)": -3}]


def test_reading_is_bounded_by_a_pool_of_tasks_only() -> None:
    source = RangeDatasource(10)
    assert shoal.data.read_datasource(source, compute=TaskPoolStrategy(size=1)).count() == 10
    with pytest.raises(ValueError, match="runs in tasks"):
        shoal.data.read_datasource(source, compute=shoal.data.ActorPoolStrategy(size=1))


def test_delta_files_are_shuffled(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", minversion="20")
    pytest.importorskip("deltalake")
    table = str(tmp_path / "t")
    shoal.data.range(8, override_num_blocks=8).write_delta(table, mode=SinkMode.CREATE)
    ds = shoal.data.read_delta(table, shuffle=FileShuffleConfig(seed=1), override_num_blocks=1)
    orders = [[row["id"] for row in ds.take_all()] for _ in range(2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(8))
    with pytest.raises(FileExistsError):
        shoal.data.range(8).write_delta(table, mode=SinkMode.CREATE)


def test_writers_take_options_that_cannot_travel_and_encoders(tmp_path: Path) -> None:
    import pyarrow.csv

    def options() -> dict[str, Any]:
        return {"write_options": pyarrow.csv.WriteOptions(delimiter=";")}

    ds = shoal.data.from_items([{"a": n, "b": "x"} for n in range(4)], override_num_blocks=4)
    ds.write_csv(str(tmp_path / "csv"), arrow_csv_args_fn=options, num_rows_per_file=4)
    [file] = (tmp_path / "csv").iterdir()
    assert file.read_text().splitlines()[:2] == ['"a";"b"', '0;"x"']
    ds.write_orc(str(tmp_path / "orc"), arrow_orc_args={"compression": "zstd"}, arrow_orc_args_fn=dict)
    assert shoal.data.read_orc(str(tmp_path / "orc")).count() == 4
    ds.limit(1).write_webdataset(
        str(tmp_path / "web"), encoder=lambda row: {"__key__": "k", "txt": row["b"].encode()}
    )
    assert shoal.data.read_webdataset(str(tmp_path / "web")).take_all() == [{"__key__": "k", "txt": "x"}]
    with pytest.raises(TypeError, match="must be bytes"):
        ds.write_webdataset(str(tmp_path / "no"), encoder=False)
    with pytest.raises(ValueError, match="old name"):
        ds.write_csv(str(tmp_path / "no"), num_rows_per_file=1, min_rows_per_file=1)
