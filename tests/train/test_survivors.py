"""When a rank dies, the others keep their processes: what they have imported and loaded is there still."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shoal import train
from shoal.train import DataParallelTrainer, FailureConfig, RunConfig, ScalingConfig
from shoal.train.torch import TorchTrainer

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]

Make = Callable[..., RunConfig]


def begin(folder: str) -> int:
    """Note which process this rank is, and whether it imports anew; return the number of the attempt, from 0."""
    mark = Path(folder, "attempts")
    rank = train.get_context().get_world_rank()
    attempt = len(mark.read_text()) if mark.exists() else 0
    train.collective.barrier()
    if rank == 0:
        mark.write_text("x" * (attempt + 1))
    fresh = "tabnanny" not in sys.modules
    import tabnanny  # noqa: F401  stands for what takes long to import

    Path(folder, f"{attempt}_{rank}").write_text(json.dumps([os.getpid(), fresh]))
    return attempt


def seen(folder: Path, attempt: int, ranks: int) -> list[tuple[int, bool]]:
    return [tuple(json.loads((folder / f"{attempt}_{rank}").read_text())) for rank in range(ranks)]


def summing(config: dict[str, Any]) -> float:
    import torch
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard

    from shoal.train.torch import get_device_mesh

    attempt = begin(config["folder"])
    rank = train.get_context().get_world_rank()
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 8)
    fully_shard(model, mesh=get_device_mesh()["dp"])
    group = dist.new_group([0, 1, 2])
    for step in range(4):
        if step == 2 and attempt < 2 and rank == config["dies"][attempt]:
            os.kill(os.getpid(), signal.SIGKILL)
        model(torch.ones(1, 8)).sum().backward()
        total = torch.ones(1)
        dist.all_reduce(total, group=group)
        train.report({"step": step, "sum": total.item()})
    return float(total.item())


def test_ranks_that_wait_for_the_dead_one_keep_their_processes(run_config: Make, tmp_path: Path) -> None:
    result = TorchTrainer(
        summing,
        train_loop_config={"folder": str(tmp_path), "dies": [1, 0]},
        scaling_config=ScalingConfig(num_workers=3),
        run_config=run_config(name="survivors", failure_config=FailureConfig(max_failures=2)),
    ).fit()
    assert result.return_value == 3.0
    first, second, third = (seen(tmp_path, attempt, 3) for attempt in range(3))
    assert [fresh for _, fresh in first] == [True, True, True]
    assert [fresh for _, fresh in second] == [False, True, False]
    assert [fresh for _, fresh in third] == [True, False, False]
    assert [pid for pid, _ in second][::2] == [pid for pid, _ in first][::2]
    assert [pid for pid, _ in third][1:] == [pid for pid, _ in second][1:]
    assert len({pid for attempt in (first, second, third) for pid, _ in attempt}) == 5


def busy(config: dict[str, Any]) -> int:
    attempt = begin(config["folder"])
    rank = train.get_context().get_world_rank()
    if attempt == 0:
        train.collective.barrier()
        if rank == 0:
            raise RuntimeError("broken")
        if rank == 1:
            time.sleep(100)  # in C: nothing ends it but its process' end
        if rank == 2:
            train.collective.barrier()  # that not all come to
        while True:  # Python, which can be interrupted anywhere
            pass
    train.report({"again": True})
    return attempt


def test_who_does_not_stop_and_who_failed_are_replaced(run_config: Make, tmp_path: Path) -> None:
    began = time.monotonic()
    result = DataParallelTrainer(
        busy,
        train_loop_config={"folder": str(tmp_path)},
        scaling_config=ScalingConfig(num_workers=4),
        run_config=run_config(name="busy", failure_config=FailureConfig(max_failures=1)),
    ).fit()
    assert result.return_value == 1
    assert time.monotonic() - began < 60
    first, second = seen(tmp_path, 0, 4), seen(tmp_path, 1, 4)
    assert [fresh for _, fresh in second] == [True, True, False, False]
    assert [pid for pid, _ in second][2:] == [pid for pid, _ in first][2:]
