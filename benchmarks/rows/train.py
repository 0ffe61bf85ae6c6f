"""Training: how soon ranks work, and how soon they work again."""

from __future__ import annotations

import importlib
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
WORKERS = 4


def _trainer(bench: Bench, loop: Any, folder: str, failures: int = 0) -> Any:
    train = importlib.import_module(f"{bench.api.__name__}.train")
    torch = importlib.import_module(f"{bench.api.__name__}.train.torch")
    return torch.TorchTrainer(
        loop,
        train_loop_config={"folder": folder, "library": bench.api.__name__},
        scaling_config=train.ScalingConfig(num_workers=WORKERS, resources_per_worker={"CPU": 0.25}),
        run_config=train.RunConfig(
            storage_path=f"{folder}/runs", failure_config=train.FailureConfig(max_failures=failures)
        ),
    )


def loops() -> tuple[Any, Any]:
    """What ranks run. Inner functions travel as a whole: workers cannot import the benchmarks."""

    def first_step(config: dict[str, Any]) -> None:
        import torch
        import torch.distributed as dist

        dist.all_reduce(torch.ones(1))
        (Path(config["folder"]) / f"step_{dist.get_rank()}").write_text(repr(time.time()))
        importlib.import_module(f"{config['library']}.train").report({"x": 1})

    def dies_once(config: dict[str, Any]) -> None:
        import torch
        import torch.distributed as dist

        folder = Path(config["folder"])
        dist.all_reduce(torch.ones(1))
        died = folder / "died"
        if not died.exists():
            dist.barrier()
            if dist.get_rank() == 1:
                died.write_text(repr(time.time()))
                os.kill(os.getpid(), signal.SIGKILL)
            dist.all_reduce(torch.ones(1))
        (folder / f"again_{dist.get_rank()}").write_text(repr(time.time()))
        importlib.import_module(f"{config['library']}.train").report({"x": 1})

    return first_step, dies_once


@ROWS.row("train: fit to first step, 4 workers", required=3, seconds=180)
def first_step(bench: Bench) -> Reading:
    """From fit() until the last of four ranks has done its first all_reduce; runs a second."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        _trainer(bench, loops()[0], folder).fit()
        last = max(float(file.read_text()) for file in Path(folder).glob("step_*"))
    return Reading(1.0 / (last - began))


@ROWS.row("train: recovery after kill -9, 4 workers", required=3, seconds=180)
def recovery(bench: Bench) -> Reading:
    """From a rank's death until all four have done an all_reduce again; times a second."""
    with tempfile.TemporaryDirectory() as folder:
        _trainer(bench, loops()[1], folder, failures=1).fit()
        died = float((Path(folder) / "died").read_text())
        last = max(float(file.read_text()) for file in Path(folder).glob("again_*"))
    return Reading(1.0 / (last - died))
