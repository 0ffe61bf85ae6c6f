"""Models that ranks train in parts learn what one process learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shoal import train
from shoal.train import RunConfig, ScalingConfig
from shoal.train.torch import TorchTrainer

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session"), pytest.mark.slow]

STEPS = 8


def made() -> tuple[Any, Any, Any]:
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))
    rows = torch.randn(64, 16)
    return model, rows, (rows @ torch.randn(16, 4)).argmax(1)


def loss_of(model: Any, rows: Any, labels: Any) -> Any:
    import torch

    said = model(rows)
    return torch.nn.functional.cross_entropy(
        said.full_tensor() if hasattr(said, "full_tensor") else said, labels
    )


def alone() -> list[float]:
    import torch

    model, rows, labels = made()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, rows, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def together(config: dict[str, Any]) -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    from shoal.train.torch import get_device_mesh

    model, rows, labels = made()
    mesh = get_device_mesh()
    if "tp" in mesh.mesh_dim_names:
        parallelize_module(model, mesh["tp"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    data = next((axis for axis in ("dp", "fsdp") if axis in mesh.mesh_dim_names), None)
    part = slice(None)
    if data is not None:
        size, rank = mesh[data].size(), mesh[data].get_local_rank()
        part = slice(rank * 64 // size, (rank + 1) * 64 // size)
        if data == "fsdp" or "tp" in mesh.mesh_dim_names:
            fully_shard(model, mesh=mesh[data])
        else:
            model = torch.nn.parallel.DistributedDataParallel(model, device_mesh=mesh[data])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, rows[part], labels[part])
        loss.backward()
        optimizer.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        train.report({"loss": mean.item() / train.get_context().get_world_size()})


@pytest.mark.parametrize(
    "parallel", [{"dp": 2}, {"fsdp": 2}, {"tp": 2}, {"dp": 2, "tp": 2}, {"fsdp": 2, "tp": -1}], ids=str
)
def test_the_loss_is_that_of_one_process(
    run_config: Callable[..., RunConfig], parallel: dict[str, int]
) -> None:
    workers = 4 if len(parallel) == 2 else 2
    result = TorchTrainer(
        together,
        train_loop_config={},
        scaling_config=ScalingConfig(num_workers=workers, parallel=parallel),
        run_config=run_config(name="parallel"),
    ).fit()
    assert result.metrics_dataframe is not None
    assert list(result.metrics_dataframe["loss"]) == pytest.approx(alone(), rel=1e-4)
