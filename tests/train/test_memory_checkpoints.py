"""Checkpoints that two processes hold in memory: training goes on from them, and the last goes to the storage."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal import train
from shoal.errors import ConfigError
from shoal.train import (
    Checkpoint,
    CheckpointConfig,
    DataParallelTrainer,
    FailureConfig,
    RunConfig,
    ScalingConfig,
)
from shoal.train.session import session_here

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]

Make = Callable[..., RunConfig]


def loop(config: dict[str, Any]) -> None:
    rank = train.get_context().get_world_rank()
    mark = Path(config["mark"])
    began = 0
    if before := train.get_checkpoint():
        with before.as_directory() as folder:
            assert sorted(os.listdir(folder)) == ["part_0", "part_1"]
            began = int(Path(folder, f"part_{rank}").read_text()) + 1
    for step in range(began, 8):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"part_{rank}").write_text(str(step))
            train.report({"step": step, "began": began}, checkpoint=Checkpoint.from_directory(folder))
        train.collective.barrier()
        if step == 4 and not mark.exists():
            stored = train.get_context().get_storage().folders()
            keepers = session_here("the test").orders.keepers
            assert keepers is not None
            train.collective.barrier()
            if rank == 1:
                mark.write_text(repr(sorted(stored)))
                for keeper in keepers.actors[: config["keepers_die"]]:
                    shoal.kill(keeper)
                os.kill(os.getpid(), signal.SIGKILL)
            train.collective.barrier()


@pytest.mark.parametrize(
    ("keepers_die", "went_on_from"), [(0, 5), (1, 5), (2, 3)], ids=["rank", "rank and keeper", "all memory"]
)
def test_training_goes_on_from_memory(
    run_config: Make, tmp_path: Path, keepers_die: int, went_on_from: int
) -> None:
    mark = tmp_path / "mark"
    result = DataParallelTrainer(
        loop,
        train_loop_config={"mark": str(mark), "keepers_die": keepers_die},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(
            name="memory",
            failure_config=FailureConfig(max_failures=1),
            checkpoint_config=CheckpointConfig(in_memory=True, storage_frequency=3),
        ),
    ).fit()
    assert mark.read_text() == "['checkpoint_000002']"
    assert result.metrics == {"step": 7, "began": went_on_from}
    assert result.metrics_dataframe is not None
    assert list(result.metrics_dataframe["step"]) == list(range(8))
    # The last is in the storage, though its number says that memory was enough for it.
    assert result.checkpoint is not None
    assert sorted(os.listdir(result.checkpoint.path)) == ["part_0", "part_1"]
    assert Path(result.checkpoint.path, "part_1").read_text() == "7"
    left = [
        each
        for each in Path(tempfile.gettempdir()).glob("shoal_checkpoint_*")
        if each.stat().st_mtime > mark.stat().st_mtime
    ]
    assert left == []


def test_a_run_that_fails_for_good_leaves_its_last_checkpoint_in_the_storage(
    run_config: Make, tmp_path: Path
) -> None:
    config = {"mark": str(tmp_path / "mark"), "keepers_die": 1}
    run = run_config(name="fails", checkpoint_config=CheckpointConfig(in_memory=True, storage_frequency=100))

    def fit() -> Any:
        return DataParallelTrainer(
            loop, train_loop_config=config, scaling_config=ScalingConfig(num_workers=2), run_config=run
        ).fit()

    with pytest.raises(train.WorkerGroupError):
        fit()
    assert fit().metrics == {"step": 7, "began": 5}


def test_what_goes_to_the_storage_must_make_sense() -> None:
    with pytest.raises(ConfigError, match="in_memory=True"):
        CheckpointConfig(storage_frequency=3)
    with pytest.raises(ConfigError, match="at least 1"):
        CheckpointConfig(in_memory=True, storage_frequency=0)
