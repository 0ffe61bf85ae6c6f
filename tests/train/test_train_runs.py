"""Runs of real workers: reports, checkpoints, going on, and what the result says."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shoal.data
from shoal import train
from shoal.train import (
    Checkpoint,
    CheckpointConfig,
    DataParallelTrainer,
    Result,
    RunConfig,
    ScalingConfig,
    UserCallback,
    ValidationConfig,
    collective,
)
from shoal.train.uploads import CheckpointConsistencyMode, CheckpointUploadMode

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]

Make = Callable[..., RunConfig]


def checkpoint_of(**files: str) -> Checkpoint:
    folder = tempfile.mkdtemp(prefix="test_checkpoint_")
    for name, text in files.items():
        (Path(folder) / f"{name}.txt").write_text(text)
    return Checkpoint.from_directory(folder)


def text_of(checkpoint: Checkpoint | None, name: str) -> str:
    assert checkpoint is not None
    with checkpoint.as_directory() as folder:
        return (Path(folder) / f"{name}.txt").read_text()


def two(function: Callable[..., Any], run: RunConfig, **options: Any) -> DataParallelTrainer:
    return DataParallelTrainer(
        function, scaling_config=ScalingConfig(num_workers=2), run_config=run, **options
    )


def test_ranks_report_and_the_result_is_rank_zeros(run_config: Make) -> None:
    def loop(config: dict[str, Any]) -> str:
        context = train.get_context()
        for step in range(config["steps"]):
            train.report({"step": step, "rank": context.get_world_rank(), "of": context.get_world_size()})
        return f"rank {context.get_world_rank()} of {context.get_experiment_name()}"

    result = two(loop, run_config(name="plain"), train_loop_config={"steps": 3}).fit()
    assert result.error is None
    assert result.metrics == {"step": 2, "rank": 0, "of": 2}
    assert result.metrics_dataframe is not None
    assert list(result.metrics_dataframe["step"]) == [0, 1, 2]
    assert result.return_value == "rank 0 of plain"
    again = Result.from_path(result.path)
    assert again.metrics == result.metrics
    with pytest.raises(FileNotFoundError, match="no run"):
        Result.from_path(f"{result.path}/nothing")


def test_parts_of_all_ranks_are_one_checkpoint_and_the_best_are_kept(run_config: Make) -> None:
    def loop() -> None:
        rank = train.get_context().get_world_rank()
        for step, score in enumerate([0.3, 0.9, 0.1, 0.5]):
            part = checkpoint_of(**{f"part{rank}": f"{step}"})
            train.report({"score": score}, checkpoint=part)

    kept = CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="score")
    result = two(loop, run_config(name="kept", checkpoint_config=kept)).fit()
    assert text_of(result.checkpoint, "part0") == text_of(result.checkpoint, "part1") == "3"
    assert [said["score"] for _, said in result.best_checkpoints] == [0.9, 0.5]
    best = result.get_best_checkpoint("score", "max")
    assert text_of(best, "part1") == "1"
    folders = [name for name in os.listdir(result.path) if os.path.isdir(f"{result.path}/{name}")]
    assert sorted(folders) == ["checkpoint_000001", "checkpoint_000003"]


def test_a_run_goes_on_by_its_name_and_by_its_path(run_config: Make) -> None:
    def loop(config: dict[str, Any]) -> None:
        before = train.get_checkpoint()
        first = 0 if before is None else int(text_of(before, "step")) + 1
        for step in range(first, config["until"]):
            checkpoint = checkpoint_of(step=str(step)) if train.get_context().get_world_rank() == 0 else None
            train.report({"step": step}, checkpoint=checkpoint)

    run = run_config(name="goes_on")
    first = two(loop, run, train_loop_config={"until": 2}).fit()
    second = two(loop, run, train_loop_config={"until": 3}).fit()
    assert second.metrics_dataframe is not None
    assert list(second.metrics_dataframe["step"]) == [0, 1, 2]
    third = DataParallelTrainer.restore(
        first.path, loop, {"until": 5}, scaling_config=ScalingConfig(num_workers=2), run_config=run_config()
    ).fit()
    assert list(third.metrics_dataframe["step"]) == [0, 1, 2, 3, 4]
    given = two(
        loop,
        run_config(name="given"),
        train_loop_config={"until": 6},
        resume_from_checkpoint=third.checkpoint,
    ).fit()
    assert given.metrics_dataframe is not None
    assert list(given.metrics_dataframe["step"]) == [5]


def test_ways_to_upload(run_config: Make) -> None:
    def loop() -> None:
        storage = train.get_context().get_storage()
        rank = train.get_context().get_world_rank()
        for mode in (CheckpointUploadMode.SYNC, CheckpointUploadMode.ASYNC):
            checkpoint = checkpoint_of(mode=mode.value) if rank == 0 else None
            train.report({"mode": mode.value}, checkpoint=checkpoint, checkpoint_upload_mode=mode)
        if rank == 0:
            storage.upload(checkpoint_of(mode="there").path, "mine")
        there = Checkpoint(storage.at("mine"), storage.filesystem) if rank == 0 else None
        train.report({}, checkpoint=there, checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD)

        def upload(checkpoint: Checkpoint, name: str) -> Checkpoint:
            storage.upload(checkpoint.path, name)
            return Checkpoint(storage.at(name), storage.filesystem)

        mine = checkpoint_of(mode="own") if rank == 0 else None
        train.report({}, checkpoint=mine, checkpoint_dir_name="named", checkpoint_upload_fn=upload)

    result = two(loop, run_config(name="modes")).fit()
    modes = [text_of(checkpoint, "mode") for checkpoint, _ in result.best_checkpoints]
    assert modes == ["sync", "async", "there", "own"]
    assert result.checkpoint is not None
    assert result.checkpoint.path.endswith("/modes/named")


def test_ranks_meet(run_config: Make) -> None:
    def loop() -> None:
        rank = train.get_context().get_world_rank()
        said = collective.broadcast_from_rank_zero({"from": rank})
        collective.barrier()
        train.report({"said": said})

    def all_of(metrics: Any) -> bool:
        return False

    seen: list[Any] = []

    class Watch(UserCallback):
        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
            seen.append((run_context.name, metrics))

        def on_end(self, run_context: Any, result: Result) -> None:
            seen.append(result.error)

    two(loop, run_config(name="meet", callbacks=[Watch()], stop=all_of)).fit()
    assert seen == [("meet", [{"said": {"from": 0}}, {"said": {"from": 0}}]), None]


def test_checkpoints_are_validated_beside_the_training(run_config: Make) -> None:
    def loop() -> None:
        rank = train.get_context().get_world_rank()
        train.report({"x": 1}, checkpoint=checkpoint_of(n="41") if rank == 0 else None, validation=rank == 0)
        known = train.get_all_reported_checkpoints(CheckpointConsistencyMode.VALIDATED, timeout_s=60)
        collective.barrier()
        train.report({"statuses": [each.status.value for each in known]})

    def validate(checkpoint: Checkpoint) -> dict[str, Any]:
        return {"validated": int(text_of(checkpoint, "n")) + 1}

    result = two(loop, run_config(name="validated"), validation_config=ValidationConfig(validate)).fit()
    [(_, said)] = result.best_checkpoints
    assert said == {"x": 1, "validated": 42}


def test_each_row_of_a_dataset_is_some_ranks_once_an_epoch(run_config: Make, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()

    def loop() -> None:
        rank = train.get_context().get_world_rank()
        shard = train.get_dataset_shard("train")
        whole = train.get_dataset_shard("all")
        for epoch in range(2):
            rows = [row["id"] for row in shard.iter_rows()]
            (seen / f"{epoch}_{rank}").write_text(json.dumps(rows))
            train.report({"rows": len(rows), "all": sum(1 for _ in whole.iter_rows())})

    data = {"train": shoal.data.range(100), "all": shoal.data.range(7)}
    dealt = train.DataConfig(datasets_to_split=["train"])
    result = two(loop, run_config(name="rows"), datasets=data, dataset_config=dealt).fit()
    assert result.metrics == {"rows": 50, "all": 7}
    for epoch in range(2):
        rows = [row for rank in range(2) for row in json.loads((seen / f"{epoch}_{rank}").read_text())]
        assert sorted(rows) == list(range(100))
