"""Runs of training on several nodes: nodes that go, that die, and that come."""

from __future__ import annotations

import os
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

import shoal
from shoal import train
from shoal.train import (
    Checkpoint,
    CheckpointConfig,
    DataParallelTrainer,
    FailureConfig,
    Result,
    RunConfig,
    ScalingConfig,
)

pytestmark = pytest.mark.processes
SECONDS = 60


def loop(config: dict[str, Any]) -> None:
    """Reports until the file `enough` says so, and always a few steps more than where it began."""
    began = 0
    if before := train.get_checkpoint():
        with before.as_directory() as folder:
            began = int(Path(folder, "step").read_text()) + 1
    context = train.get_context()
    folder = Path(config["folder"])
    node = shoal.get_runtime_context().get_node_id()
    step = began
    while True:
        stops = train.collective.broadcast_from_rank_zero((folder / "enough").exists() and step > began + 2)
        if stops:
            return
        checkpoint = None
        with tempfile.TemporaryDirectory() as files:
            if context.get_world_rank() == 0:
                Path(files, "step").write_text(str(step))
                checkpoint = Checkpoint.from_directory(files)
            train.report(
                {"step": step, "began": began, "size": context.get_world_size(), "node": node},
                checkpoint=checkpoint,
            )
        if context.get_world_rank() == 0:
            (folder / "last").write_text(f"{step} {node}")
        step += 1
        time.sleep(0.05)


def fit_beside(folder: Path, scaling: ScalingConfig, **run: Any) -> Callable[[], Result]:
    """Train in a thread; what is returned waits for the result."""
    found: list[Any] = []

    def fit() -> None:
        try:
            found.append(
                DataParallelTrainer(
                    loop,
                    train_loop_config={"folder": str(folder)},
                    scaling_config=scaling,
                    run_config=RunConfig(name="run", storage_path=str(folder / "runs"), verbose=0, **run),
                ).fit()
            )
        except BaseException as error:  # for the thread of the test
            found.append(error)

    thread = threading.Thread(target=fit)
    thread.start()

    def wait() -> Result:
        (folder / "enough").touch()
        thread.join(SECONDS)
        assert not thread.is_alive(), "the run did not end"
        if isinstance(found[0], BaseException):
            raise found[0]
        result: Result = found[0]
        return result

    return wait


def wait_for(what: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def last(folder: Path) -> list[str]:
    return (folder / "last").read_text().split() if (folder / "last").exists() else []


def test_training_moves_away_from_a_node_that_is_drained(mortal: Any, tmp_path: Path) -> None:
    scaling = ScalingConfig(num_workers=2, placement_strategy="STRICT_PACK")
    wait = fit_beside(tmp_path, scaling, failure_config=FailureConfig(preemption_grace_s=30))
    first = wait_for(lambda: last(tmp_path))[-1]
    assert first in (mortal.left.node_id, mortal.right.node_id)
    command = [
        sys.executable,
        "-m",
        "shoal.cli.main",
        "drain-node",
        first,
        "--temp-dir",
        mortal.cluster.folder,
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        wait_for(lambda: last(tmp_path)[-1:] not in ([first], []))
    finally:
        result = wait()
    assert result.metrics is not None
    assert result.metrics["node"] == ({mortal.left.node_id, mortal.right.node_id} - {first}).pop()
    assert result.metrics_dataframe is not None
    assert list(result.metrics_dataframe["step"]) == list(range(len(result.metrics_dataframe)))


def test_what_a_dead_node_had_in_memory_is_on_another(mortal: Any, tmp_path: Path) -> None:
    wait = fit_beside(
        tmp_path,
        ScalingConfig(num_workers=(1, 2), resources_per_worker={"CPU": 2}),
        failure_config=FailureConfig(max_failures=1),
        checkpoint_config=CheckpointConfig(in_memory=True, storage_frequency=10_000),
    )
    step, first = wait_for(lambda: len(last(tmp_path)) == 2 and int(last(tmp_path)[0]) > 3 and last(tmp_path))
    dies = mortal.left if first == mortal.left.node_id else mortal.right
    os.kill(dies.pid, signal.SIGKILL)
    try:
        wait_for(lambda: int(last(tmp_path)[0]) > int(step) + 5 and last(tmp_path)[1] != dies.node_id)
    finally:
        result = wait()
    assert result.metrics is not None
    assert result.metrics["size"] == 1
    assert result.metrics["began"] >= int(step)  # the storage had nothing to go on from
    assert result.checkpoint is not None


def test_a_new_node_grows_the_group(mortal: Any, tmp_path: Path) -> None:
    scaling = ScalingConfig(
        num_workers=(1, 3), resources_per_worker={"left": 60}, elastic_resize_monitor_interval_s=0.5
    )
    wait = fit_beside(tmp_path, scaling)
    wait_for(lambda: last(tmp_path))
    mortal.cluster.add_node(num_cpus=2, resources={"left": 100})
    newest = tmp_path / "runs" / "run" / "metrics.json"

    try:
        wait_for(lambda: newest.exists() and '"size": 2' in newest.read_text())
    finally:
        result = wait()
    assert result.metrics_dataframe is not None
    sizes = list(result.metrics_dataframe["size"])
    assert (sizes[0], sizes[-1]) == (1, 2)
    assert list(result.metrics_dataframe["step"]) == list(range(len(sizes)))
