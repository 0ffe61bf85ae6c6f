"""What fails while training: who is told what, and how training goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from shoal import train
from shoal.errors import ActorDied, ConfigError, NotSerializable
from shoal.train import (
    Checkpoint,
    DataParallelTrainer,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    SyncConfig,
    TrainingFailedError,
    TrainingHangError,
    UnequalReportsError,
    UserCallback,
    WorkerGroupError,
)
from shoal.train.torch import TorchTrainer
from shoal.train.uploads import CheckpointUploadMode

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]

Make = Callable[..., RunConfig]


def saved(step: int) -> Checkpoint:
    folder = tempfile.mkdtemp(prefix="test_checkpoint_")
    (Path(folder) / "step").write_text(str(step))
    return Checkpoint.from_directory(folder)


def begin() -> int:
    before = train.get_checkpoint()
    if before is None:
        return 0
    with before.as_directory() as folder:
        return int((Path(folder) / "step").read_text()) + 1


def steps_that_die(config: dict[str, Any]) -> None:
    """Sum over all ranks in each step; at one step a rank is killed while the others wait in the sum."""
    import torch
    import torch.distributed as dist

    rank = train.get_context().get_world_rank()
    for step in range(begin(), config["until"]):
        mark = Path(config["folder"]) / f"died_{step}"
        if step in config["dies_at"] and rank == 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        total = torch.ones(1)
        dist.all_reduce(total)
        train.report({"step": step, "total": total.item()}, checkpoint=saved(step) if rank == 0 else None)


def test_a_rank_that_is_killed_inside_a_collective_begins_anew_from_the_checkpoint(
    run_config: Make, tmp_path: Path
) -> None:
    told: list[dict[int, Exception]] = []

    class Watch(UserCallback):
        def after_exception(self, run_context: Any, worker_exceptions: Any) -> None:
            told.append(worker_exceptions)

    config = {"until": 6, "dies_at": [2, 4], "folder": str(tmp_path)}
    run = run_config(name="dies", failure_config=FailureConfig(max_failures=2), callbacks=[Watch()])
    trainer = TorchTrainer(
        steps_that_die,
        train_loop_config=config,
        scaling_config=ScalingConfig(num_workers=3),
        run_config=run,
    )
    result = trainer.fit()
    assert result.metrics == {"step": 5, "total": 3.0}
    assert result.metrics_dataframe is not None
    assert list(result.metrics_dataframe["step"]) == [0, 1, 2, 3, 4, 5]
    assert len(told) == 2
    assert all(isinstance(errors[1], ActorDied) for errors in told)


def test_a_failure_too_many_tells_which_rank_and_why(run_config: Make) -> None:
    def loop() -> None:
        if train.get_context().get_world_rank() == 1:
            raise ValueError("the loss is odd")
        time.sleep(60)

    with pytest.raises(WorkerGroupError, match="rank 1: ValueError: the loss is odd") as caught:
        DataParallelTrainer(
            loop, scaling_config=ScalingConfig(num_workers=2), run_config=run_config(name="odd")
        ).fit()
    assert isinstance(caught.value, TrainingFailedError)
    assert isinstance(caught.value.worker_failures[1], ValueError)


def test_a_group_that_hangs_is_told_with_everybodys_place(run_config: Make) -> None:
    def lazy_rank() -> None:
        import torch
        import torch.distributed as dist

        if train.get_context().get_world_rank() == 1:
            time.sleep(60)
        dist.all_reduce(torch.ones(1))

    run = run_config(name="hangs", failure_config=FailureConfig(hang_timeout_s=1.0))
    with pytest.raises(TrainingHangError) as caught:
        TorchTrainer(lazy_rank, scaling_config=ScalingConfig(num_workers=2), run_config=run).fit()
    text = str(caught.value)
    assert "Ranks 0 wait in a collective operation for 1, which is elsewhere" in text
    assert "time.sleep(60)" in text


def test_ranks_that_report_unequally(run_config: Make) -> None:
    def loop() -> None:
        for _ in range(2 + train.get_context().get_world_rank()):
            train.report({})

    with pytest.raises(UnequalReportsError, match="rank 0 returned after 2 reports, rank 1 has made 3"):
        DataParallelTrainer(
            loop, scaling_config=ScalingConfig(num_workers=2), run_config=run_config(name="unequal")
        ).fit()


def test_a_function_that_returns_before_it_reports(run_config: Make) -> None:
    result = DataParallelTrainer(lambda: 5, run_config=run_config(name="silent")).fit()
    assert (result.metrics, result.checkpoint, result.return_value) == (None, None, 5)
    assert result.metrics_dataframe is None


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"use_gpu": True}, "no node has a GPU: leave use_gpu out"),
        ({"resources_per_worker": {"CPU": 100}}, "a worker needs 100 CPU, which no node has"),
        ({"resources_per_worker": {"special": 1}}, "a worker needs 1 special, which no node has"),
        ({"num_workers": 9}, "9 workers with 1 CPU each .PACK. do not fit"),
        ({"num_workers": 2, "placement_strategy": "STRICT_SPREAD"}, "STRICT_SPREAD. do not fit"),
    ],
)
def test_what_no_node_has_is_told_at_once(run_config: Make, scaling: dict[str, Any], message: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match=message):
        DataParallelTrainer(
            lambda: None, scaling_config=ScalingConfig(**scaling), run_config=run_config(name="no")
        ).fit()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScalingConfig(num_workers=0), "at least 1"),
        (lambda: ScalingConfig(num_workers=(3, 2)), "1 <= min <= max"),
        (lambda: ScalingConfig(resources_per_worker={"GPU": 1}), "use_gpu is not set"),
        (lambda: ScalingConfig(resources_per_worker={"CPU": -1}), "at least 0"),
        (lambda: ScalingConfig(placement_strategy="NEAR"), "must be one of PACK"),
        (lambda: ScalingConfig(num_workers=4, parallel={"tp": 3}), "needs a multiple of 3 workers"),
        (lambda: ScalingConfig(num_workers=4, parallel={"zp": 2}), "has no axis zp"),
        (lambda: RunConfig(name="a/b"), "must be a folder's name"),
        (lambda: RunConfig(failure_config=3), "must be a FailureConfig"),
        (lambda: FailureConfig(on_nan="shout"), "on_nan must be"),
        (lambda: train.CheckpointConfig(num_to_keep=0), "at least 1"),
        (lambda: DataParallelTrainer(lambda: None, backend_config="no_such"), "no_such"),
        (lambda: DataParallelTrainer(lambda: None, datasets={"train": [1]}), "must be a shoal.data.Dataset"),
    ],
)
def test_settings_that_cannot_be(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_functions_that_cannot_be(run_config: Make) -> None:
    with pytest.raises(TypeError, match="must be a function"):
        DataParallelTrainer(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="one argument"):
        DataParallelTrainer(lambda a, b: None)
    lock = threading.Lock()
    with pytest.raises(NotSerializable, match="lock"):
        DataParallelTrainer(lambda config: None, train_loop_config={"x": lock}, run_config=run_config()).fit()


def test_calls_outside_of_a_training_function() -> None:
    with pytest.raises(train.SessionMisuseError, match="this process is no worker of a run"):
        train.report({})
    with pytest.raises(train.SessionMisuseError):
        train.get_context()


def test_a_checkpoints_folder_that_vanishes(run_config: Make) -> None:
    def gone_before() -> None:
        checkpoint = saved(1)
        shutil.rmtree(checkpoint.path)
        train.report({}, checkpoint=checkpoint)

    with pytest.raises(WorkerGroupError, match="is not there"):
        DataParallelTrainer(gone_before, run_config=run_config(name="gone")).fit()


class Flaky(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Files that cannot be written into a checkpoint until some tries were made in the process."""

    cachable = False
    protocol = "flaky"

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.left = failures

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "w" in mode and "checkpoint_" in path and self.left > 0:
            self.left -= 1
            raise OSError("the storage is away")
        return super()._open(path, mode, **options)


def test_a_storage_that_fails_for_a_while(run_config: Make, tmp_path: Path) -> None:
    def loop() -> None:
        for step in range(2):
            train.report({"step": step}, checkpoint=saved(step))

    run = run_config(name="flaky", storage_filesystem=Flaky(3))
    result = DataParallelTrainer(loop, run_config=run).fit()
    assert result.checkpoint is not None
    with result.checkpoint.as_directory() as folder:
        assert (Path(folder) / "step").read_text() == "1"
    away = run_config(name="away", storage_filesystem=Flaky(10_000), sync_config=SyncConfig(sync_timeout=1.0))
    with pytest.raises(WorkerGroupError, match="failed for 1 s"):
        DataParallelTrainer(loop, run_config=away).fit()


def test_a_folder_that_vanishes_during_its_upload(run_config: Make) -> None:
    def loop() -> None:
        checkpoint = saved(0)
        storage = train.get_context().get_storage()
        slow = type(storage)(storage.filesystem, storage.path, patience=30.0)
        assert not slow.is_local
        train.report({}, checkpoint=checkpoint, checkpoint_upload_mode=CheckpointUploadMode.ASYNC)
        shutil.rmtree(checkpoint.path, ignore_errors=True)
        time.sleep(5)

    run = run_config(name="vanishes", storage_filesystem=Flaky(4))
    with pytest.raises(WorkerGroupError, match=r"is gone now|is not there"):
        DataParallelTrainer(loop, run_config=run).fit()


RUNS = """
import sys, time
from shoal import train
from shoal.train import DataParallelTrainer, RunConfig

def loop():
    train.report({})
    print("reported", flush=True)
    time.sleep(100)

DataParallelTrainer(loop, run_config=RunConfig(name="same", storage_path=sys.argv[1])).fit()
"""


def test_two_runs_with_one_name(tmp_path: Path) -> None:
    program = tmp_path / "runs.py"
    program.write_text(RUNS)
    other = subprocess.Popen(
        [sys.executable, program, tmp_path / "runs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert other.stdout is not None
    with other:
        try:
            assert any("reported" in line for line in other.stdout)
            run = RunConfig(name="same", storage_path=str(tmp_path / "runs"), verbose=0)
            with pytest.raises(ConfigError, match=f"a run named 'same' goes on in .* .process {other.pid}"):
                DataParallelTrainer(lambda: None, run_config=run).fit()
        finally:
            other.kill()
    # Nobody leads it any more.
    assert DataParallelTrainer(lambda: 1, run_config=run).fit().return_value == 1


def test_a_group_grows_when_there_is_room_and_shrinks_when_there_is_none(
    run_config: Make, tmp_path: Path
) -> None:
    """Another run holds places at first; then it gives them back."""

    def hold() -> None:
        while not (tmp_path / "go").exists():
            time.sleep(0.05)

    def loop(config: dict[str, Any]) -> None:
        size = train.get_context().get_world_size()
        for step in range(begin(), 1000):
            time.sleep(0.05)
            rank = train.get_context().get_world_rank()
            train.report({"step": step, "size": size}, checkpoint=saved(step) if rank == 0 else None)
            if step == 3 and rank == 0:
                (tmp_path / "go").touch()
            if size == 4:
                return

    holder = threading.Thread(
        target=DataParallelTrainer(
            hold, scaling_config=ScalingConfig(num_workers=6), run_config=run_config(name="holds")
        ).fit
    )
    import shoal

    holder.start()
    deadline = time.monotonic() + 60
    while shoal.available_resources().get("CPU", 0.0) > 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    scaling = ScalingConfig(num_workers=(1, 4), elastic_resize_monitor_interval_s=0.3)
    result = DataParallelTrainer(
        loop, train_loop_config={}, scaling_config=scaling, run_config=run_config(name="grows")
    ).fit()
    holder.join()
    assert result.metrics_dataframe is not None
    sizes = list(result.metrics_dataframe["size"])
    assert (sizes[0], sizes[-1]) == (2, 4)
    assert list(result.metrics_dataframe["step"]) == list(range(len(sizes)))
