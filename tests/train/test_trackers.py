"""Loggers write what their own readers find."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shoal import train
from shoal.train import DataParallelTrainer, RunConfig, ScalingConfig
from shoal.train.trackers import MLflowLogger, TensorBoardLogger

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]

Make = Callable[..., RunConfig]


def loop(config: dict[str, float]) -> None:
    for step in range(3):
        train.report({"loss": config["first"] / (step + 1), "said": "text"})


def test_tensorboard(run_config: Make, tmp_path: Path) -> None:
    run = run_config(name="board", callbacks=[TensorBoardLogger(str(tmp_path / "boards"))])
    DataParallelTrainer(loop, train_loop_config={"first": 6.0}, run_config=run).fit()
    [events] = (tmp_path / "boards" / "board").glob("events.out.tfevents.*")
    # Each record is its length, a checksum, the event and another checksum.
    from tensorboardX.proto.event_pb2 import Event

    data, found = events.read_bytes(), []
    while data:
        length = int.from_bytes(data[:8], "little")
        event = Event.FromString(data[12 : 12 + length])
        found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
        data = data[16 + length :]
    assert found == [(0, "loss", 6.0), (1, "loss", 3.0), (2, "loss", 2.0)]


# mlflow uses what SQLAlchemy is about to drop.
@pytest.mark.filterwarnings("default")
def test_mlflow(run_config: Make, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/runs.db"
    run = run_config(name="flow", callbacks=[MLflowLogger(uri, "digits")])
    DataParallelTrainer(loop, train_loop_config={"first": 6.0}, run_config=run).fit()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("digits")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params == {"first": "6.0"}
    assert [each.value for each in client.get_metric_history(found.info.run_id, "loss")] == [6.0, 3.0, 2.0]


WANDB = """
import sys
from shoal import train
from shoal.train import DataParallelTrainer, RunConfig, ScalingConfig
from shoal.train.trackers import WandbLogger

def loop():
    train.report({"loss": 1.0})

logger = WandbLogger("digits", mode="offline", dir=sys.argv[1])
DataParallelTrainer(loop, run_config=RunConfig(storage_path=sys.argv[1], callbacks=[logger])).fit()
"""


@pytest.mark.slow
def test_wandb_offline(tmp_path: Path) -> None:
    # In a process of its own: wandb starts another, which it ends when its program does.
    program = tmp_path / "program.py"
    program.write_text(WANDB)
    done = subprocess.run(
        [sys.executable, program, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    [file] = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"loss" in file.read_bytes()


def profiled_loop(config: dict[str, str]) -> None:
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        torch.randn(64, 64) @ torch.randn(64, 64)
    train.report({"step": 0}, profile=profiler)
    path = Path(config["folder"], f"mine_{train.get_context().get_world_rank()}.pt.trace.json")
    path.write_text("{}")
    train.report({"step": 1}, profile=path)
    with pytest.raises(TypeError, match="profile must be"):
        train.report({"step": 2}, profile=3)  # the report itself is made


def test_traces_are_kept_with_the_run(run_config: Make, tmp_path: Path) -> None:
    import json

    result = DataParallelTrainer(
        profiled_loop,
        train_loop_config={"folder": str(tmp_path)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(name="profiled"),
    ).fit()
    traces = Path(result.path, "traces")
    names = [f"report_{index:06d}_rank{rank}" for index in (0, 1) for rank in (0, 1)]
    assert sorted(each.name.partition(".")[0] for each in traces.iterdir()) == names
    events = json.loads((traces / "report_000000_rank1.json").read_text())["traceEvents"]
    assert any(event.get("name") == "aten::mm" for event in events)
    assert (traces / "report_000001_rank0.trace.json").exists()
