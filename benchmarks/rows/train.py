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

from rows.train_floors import PROGRAM

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


@ROWS.row("train: DDP steps, 2 workers", floor="torchrun: DDP steps, 2 workers", share=0.97, seconds=180)
def steps(bench: Bench) -> Reading:
    """The same steps as torchrun's, in a training function, with the model that prepare_model makes."""
    train = importlib.import_module(f"{bench.api.__name__}.train")
    torch = importlib.import_module(f"{bench.api.__name__}.train.torch")

    def loop(config: dict[str, Any]) -> None:
        import runpy

        import torch as plain

        plain.set_num_threads(1)
        library = importlib.import_module(f"{config['library']}.train")
        rate = runpy.run_path(config["program"])["measure"](
            config["count"], importlib.import_module(f"{config['library']}.train.torch").prepare_model
        )
        library.report({"rate": rate})

    with tempfile.TemporaryDirectory() as folder:
        result = torch.TorchTrainer(
            loop,
            train_loop_config={
                "library": bench.api.__name__,
                "program": str(PROGRAM),
                "count": bench.size(400, 40),
            },
            scaling_config=train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
            run_config=train.RunConfig(storage_path=folder),
        ).fit()
    return Reading(result.metrics["rate"])


@ROWS.row(
    "train: report with a checkpoint of 100 MB, ASYNC",
    unit="ms",
    less_is_better=True,
    only_ours=True,
    limit=20.0,
    seconds=180,
)
def upload(bench: Bench) -> Reading:
    """How long a step waits in report(): the upload goes on behind it. The median of the reports of one run."""
    train = importlib.import_module(f"{bench.api.__name__}.train")

    def loop(config: dict[str, Any]) -> None:
        library = importlib.import_module(f"{config['library']}.train")
        mode = importlib.import_module(f"{config['library']}.train.uploads").CheckpointUploadMode.ASYNC
        waits = []
        for number in range(config["count"]):
            folder = Path(config["folder"], f"made_{number}")
            folder.mkdir()
            (folder / "model").write_bytes(bytes(100_000_000))
            began = time.perf_counter()
            library.report(
                {"number": number},
                checkpoint=library.Checkpoint.from_directory(folder),
                checkpoint_upload_mode=mode,
            )
            waits.append(1000 * (time.perf_counter() - began))
            # The next step computes while the upload goes on; without it the queue of uploads would be measured.
            deadline = time.monotonic() + 30
            while folder.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
        library.report({"wait": sorted(waits)[len(waits) // 2]})

    with tempfile.TemporaryDirectory() as folder:
        result = train.DataParallelTrainer(
            loop,
            train_loop_config={
                "library": bench.api.__name__,
                "folder": folder,
                "count": bench.size(9, 3),
            },
            run_config=train.RunConfig(
                storage_path=f"{folder}/runs", checkpoint_config=train.CheckpointConfig(num_to_keep=1)
            ),
        ).fit()
    return Reading(result.metrics["wait"])
