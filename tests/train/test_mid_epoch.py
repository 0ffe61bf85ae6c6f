"""Ranks go on at the rows that the last checkpoint had not seen: each row is one rank's, once an epoch."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shoal.data
from shoal import train
from shoal.train import Checkpoint, FailureConfig, RunConfig, ScalingConfig
from shoal.train.torch import TorchTrainer
from shoal.train.trainer import DataParallelTrainer

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]

Make = Callable[..., RunConfig]
ROWS = 480


def loop(config: dict[str, Any]) -> None:
    """Every report's checkpoint has the rows since the report before: together what the run has learnt."""
    rank = train.get_context().get_world_rank()
    done = Path(config["folder"])
    began = 0
    if before := train.get_checkpoint():
        began = json.loads(Path(before.path, "epoch_0.json").read_text())
    batches = 0
    for epoch in range(began, config["epochs"]):
        seen: list[int] = []

        def save(epoch_then: int, seen: list[int], epoch: int = epoch) -> None:
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, f"epoch_{rank}.json").write_text(json.dumps(epoch_then))
                Path(folder, f"rows_{rank}.json").write_text(json.dumps([epoch, seen]))
                train.report({"epoch": epoch, "rows": len(seen)}, checkpoint=Checkpoint(folder))

        shard = train.get_dataset_shard("train")
        for batch in shard.iter_batches(batch_size=12, **config.get("how", {})):
            seen += [int(each) for each in batch["id"]]
            batches += 1
            if batches % 3 == 0:
                save(epoch, seen)
                seen = []
            for when, what in config["breaks"]:
                mark = done / f"{what}_{when}"
                if rank == 1 and batches == when and not mark.exists():
                    mark.touch()
                    # What was reported so far is a checkpoint, so that it is known where the next attempt begins.
                    until = time.monotonic() + 60
                    while len(train.get_all_reported_checkpoints()) < batches // 3:
                        assert time.monotonic() < until
                        time.sleep(0.02)
                    if what == "kill":
                        os.kill(os.getpid(), signal.SIGKILL)
                    raise RuntimeError("broken")
        save(epoch + 1, seen)


def learnt(result: Any) -> dict[int, Counter[int]]:
    found: dict[int, Counter[int]] = {}
    for checkpoint, _ in result.best_checkpoints:
        for file in Path(checkpoint.path).glob("rows_*.json"):
            epoch, rows = json.loads(file.read_text())
            found.setdefault(epoch, Counter()).update(rows)
    return found


def numbers(how: str) -> Any:
    rows = shoal.data.range(ROWS, override_num_blocks=7)
    if how == "shuffled":
        return rows.random_shuffle()
    if how == "blocks":
        return rows.randomize_block_order()
    return rows.map(lambda row: {"id": row["id"]}) if how == "mapped" else rows


@pytest.mark.parametrize(
    ("dataset", "how"),
    [
        ("mapped", {}),
        ("shuffled", {"prefetch_batches": 2}),
        ("blocks", {"local_shuffle_buffer_size": 60, "prefetch_batches": 0}),
    ],
)
def test_each_row_is_learnt_once_an_epoch_although_a_rank_was_killed(
    run_config: Make, tmp_path: Path, dataset: str, how: dict[str, Any]
) -> None:
    config = {"folder": str(tmp_path), "epochs": 2, "breaks": [(8, "kill"), (17, "raise")], "how": how}
    result = DataParallelTrainer(
        loop,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(name="epochs", failure_config=FailureConfig(max_failures=2)),
        datasets={"train": numbers(dataset)},
    ).fit()
    assert {each.name for each in tmp_path.iterdir()} >= {"kill_8", "raise_17"}
    each_once = Counter(range(ROWS))
    assert learnt(result) == {0: each_once, 1: each_once}


def test_another_number_of_ranks_goes_on_in_another_run(run_config: Make, tmp_path: Path) -> None:
    def fit(workers: int, breaks: list[Any]) -> Any:
        return DataParallelTrainer(
            loop,
            train_loop_config={"folder": str(tmp_path), "epochs": 2, "breaks": breaks},
            scaling_config=ScalingConfig(num_workers=workers),
            run_config=run_config(name="resized"),
            datasets={"train": numbers("shuffled")},
        ).fit()

    with pytest.raises(train.WorkerGroupError, match="broken"):
        fit(4, [(5, "raise")])
    each_once = Counter(range(ROWS))
    assert learnt(fit(2, [])) == {0: each_once, 1: each_once}


def test_without_it_the_epoch_begins_anew(run_config: Make, tmp_path: Path) -> None:
    result = DataParallelTrainer(
        loop,
        train_loop_config={"folder": str(tmp_path), "epochs": 1, "breaks": [(8, "raise")]},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(name="anew", failure_config=FailureConfig(max_failures=1)),
        datasets={"train": numbers("plain")},
        dataset_config=train.DataConfig(resume_mid_epoch=False),
    ).fit()
    rows = learnt(result)[0]
    assert set(rows) == set(range(ROWS))
    assert rows.total() == ROWS + 6 * 12 * 2


def shared(config: dict[str, Any]) -> None:
    rank = train.get_context().get_world_rank()
    rows = [row["id"] for _ in range(2) for row in train.get_dataset_shard("train").iter_rows()]
    Path(config["folder"], str(rank)).write_text(json.dumps(rows))


def test_ranks_that_share_a_model_get_the_same_rows_of_a_dataset(run_config: Make, tmp_path: Path) -> None:
    TorchTrainer(
        shared,
        train_loop_config={"folder": str(tmp_path)},
        scaling_config=ScalingConfig(num_workers=4, parallel={"tp": 2, "dp": 2}),
        run_config=run_config(name="shared"),
        datasets={"train": shoal.data.range(100)},
    ).fit()
    rows = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(4)]
    assert rows[0] == rows[2]
    assert rows[1] == rows[3]
    assert Counter(rows[0] + rows[1]) == Counter(list(range(100)) * 2)


class Own(train.DataConfig):
    """As programs written for the reference have it: what was asked for beside the datasets is left out."""

    def configure(
        self, datasets: Any, world_size: int, worker_handles: Any, worker_node_ids: Any, **kwargs: Any
    ) -> list[dict[str, Any]]:
        return super().configure(datasets, world_size, worker_handles, worker_node_ids)


def test_a_data_config_of_ones_own_begins_its_epoch_anew(run_config: Make, tmp_path: Path) -> None:
    result = DataParallelTrainer(
        loop,
        train_loop_config={"folder": str(tmp_path), "epochs": 1, "breaks": [(8, "raise")]},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(name="own", failure_config=FailureConfig(max_failures=1)),
        datasets={"train": numbers("plain")},
        dataset_config=Own(),
    ).fit()
    assert set(learnt(result)[0]) == set(range(ROWS))
    assert learnt(result)[0].total() == ROWS + 6 * 12 * 2
