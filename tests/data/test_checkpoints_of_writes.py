"""Writes that are interrupted go on where they were: each row is written once, what is done is not done again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import shoal
import shoal.data
from shoal.data import DataContext
from shoal.data.checkpoint import CheckpointBackend, CheckpointConfig, CheckpointFilter
from shoal.data.checkpoint.interfaces import InvalidCheckpointingConfig, InvalidCheckpointingOperators

PROGRAM = """
import os, sys, time
from pathlib import Path
import shoal, shoal.data
from shoal.data.checkpoint import CheckpointConfig

out, done, calls = sys.argv[1:4]
slow = float(sys.argv[4])

def compute(batch):
    time.sleep(slow)
    with open(calls, "a") as file:
        file.write("".join(f"{i}\\n" for i in batch["id"]))
    return {**batch, "square": batch["id"] ** 2}

shoal.init(num_cpus=2)
shoal.data.DataContext.get_current().checkpoint_config = CheckpointConfig(id_column="id", checkpoint_path=done)
shoal.data.range(400, override_num_blocks=40).map_batches(compute).write_parquet(out)
"""


@pytest.fixture
def context(tmp_path: Path) -> DataContext:
    made = DataContext()
    made.checkpoint_config = CheckpointConfig(id_column="id", checkpoint_path=str(tmp_path / "done"))
    return made


def written(folder: Path) -> list[int]:
    return sorted(row["id"] for row in shoal.data.read_parquet(str(folder)).take_all())


@pytest.mark.processes
@pytest.mark.timeout(120)
def test_a_program_that_is_killed_goes_on_when_it_is_run_again(tmp_path: Path) -> None:
    out, done, calls = (str(tmp_path / name) for name in ("out", "done", "calls"))
    command = [sys.executable, "-c", PROGRAM, out, done, calls]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    with subprocess.Popen([*command, "0.2"], env=environment, start_new_session=True) as first:
        end = time.monotonic() + 60
        while first.poll() is None and len(list(Path(done).glob("*.ids.parquet"))) < 5:
            assert time.monotonic() < end, "five tasks have not written within a minute"
            time.sleep(0.02)
        os.killpg(first.pid, signal.SIGKILL)
    noted = len(list(Path(done).glob("*.ids.parquet")))
    assert 5 <= noted < 40
    before = Path(calls).read_text().split()
    subprocess.run([*command, "0"], env=environment, check=True, timeout=90)
    again = Path(calls).read_text().split()[len(before) :]
    assert len(again) == 400 - 10 * noted
    with shoal.init(engine="inline"):
        assert written(tmp_path / "out") == list(range(400))
    assert not Path(done).exists()


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("backend", [None, CheckpointBackend.CLOUD_OBJECT_STORAGE])
def test_a_write_that_fails_keeps_what_was_finished(
    tmp_path: Path, context: DataContext, backend: CheckpointBackend | None
) -> None:
    assert context.checkpoint_config is not None
    context.checkpoint_config.override_backend = backend
    allowed = tmp_path / "allowed"

    def fails(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == 7 and not allowed.exists():
            raise ValueError("not yet")
        return row

    with DataContext.current(context):
        ds = shoal.data.range(10, override_num_blocks=5).map(fails)
        with pytest.raises(ValueError, match="not yet"):
            ds.write_parquet(str(tmp_path / "out"))
        kept = written(tmp_path / "out")
        assert set(kept) <= set(range(10)) - {6, 7}
        assert kept
        allowed.touch()
        ds.write_parquet(str(tmp_path / "out"), mode="error")  # the folder holds files: they are this write's
    assert written(tmp_path / "out") == list(range(10))
    assert not (tmp_path / "done").exists()


@pytest.mark.usefixtures("inline")
def test_a_checkpoint_that_is_kept_lets_later_runs_write_what_is_new(
    tmp_path: Path, context: DataContext
) -> None:
    assert context.checkpoint_config is not None
    context.checkpoint_config.delete_checkpoint_on_success = False
    with DataContext.current(context):
        shoal.data.range(5).write_csv(str(tmp_path / "out"))
        shoal.data.range(8).write_csv(str(tmp_path / "out"))
        shoal.data.range(8).write_csv(str(tmp_path / "out"))
    assert sorted(row["id"] for row in shoal.data.read_csv(str(tmp_path / "out")).take_all()) == list(
        range(8)
    )


class OnlyEven(CheckpointFilter):
    """Leaves odd rows out, whatever was written."""

    def filter_rows_for_block(self, block: pa.Table) -> pa.Table:
        return block.filter(pa.array([value % 2 == 0 for value in block.column("id").to_pylist()]))


@pytest.mark.usefixtures("inline")
def test_the_filter_may_be_another(tmp_path: Path, context: DataContext) -> None:
    assert context.checkpoint_config is not None
    context.checkpoint_config.delete_checkpoint_on_success = False
    context.checkpoint_config.checkpoint_filter_cls = OnlyEven
    with DataContext.current(context):
        shoal.data.range(1).write_json(str(tmp_path / "out"))
        shoal.data.range(6).write_json(str(tmp_path / "out"))
    assert sorted(row["id"] for row in shoal.data.read_json(str(tmp_path / "out")).take_all()) == [0, 0, 2, 4]


@pytest.mark.usefixtures("inline")
def test_what_a_checkpoint_cannot_do_is_said(tmp_path: Path, context: DataContext) -> None:
    out = str(tmp_path / "out")
    with DataContext.current(context):
        numbers = shoal.data.range(10)
        with pytest.raises(InvalidCheckpointingOperators, match="cannot look through Sort"):
            numbers.sort("id").write_parquet(out)
        with pytest.raises(InvalidCheckpointingOperators, match="for writes of files"):
            numbers.write_sql("insert into t values (?)", lambda: None)
        with pytest.raises(InvalidCheckpointingConfig, match="no column 'id' of ids; it has number"):
            numbers.rename_columns({"id": "number"}).write_parquet(out)
        with pytest.raises(InvalidCheckpointingConfig, match="has 1 nulls"):
            shoal.data.from_items([{"id": 1}, {"id": None}]).write_parquet(out)
    with pytest.raises(InvalidCheckpointingConfig, match="a checkpoint_path is needed"):
        CheckpointConfig(id_column="id")
    with pytest.raises(InvalidCheckpointingConfig, match="must be the name of a column"):
        CheckpointConfig(id_column="", checkpoint_path="x")
