"""Training on a CUDA device: NCCL, prepared models and batches, a checkpoint that comes back to the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shoal
from shoal import train
from shoal.train import RunConfig, ScalingConfig
from shoal.train.torch import TorchTrainer

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.processes,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

Make = Callable[..., RunConfig]


@pytest.fixture(scope="module", autouse=True)
def gpu_session() -> Iterator[None]:
    shoal.init(num_cpus=4, log_to_driver=False)
    yield
    shoal.shutdown()


def digits_on_a_gpu(config: dict[str, Any]) -> None:
    import torch
    import torch.distributed as dist
    from sklearn.datasets import load_digits

    from shoal.train.torch import TorchCheckpoint, get_device, prepare_data_loader, prepare_model

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    rows = torch.utils.data.TensorDataset(torch.tensor(x / 16.0, dtype=torch.float32), torch.tensor(y))
    loader = prepare_data_loader(torch.utils.data.DataLoader(rows, batch_size=64, shuffle=True))
    plain = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    if before := train.get_checkpoint():
        plain = TorchCheckpoint(before.path).get_model(plain)
    model = prepare_model(plain)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(config["epochs"]):
        right = 0
        for a, b in loader:
            assert a.device.type == "cuda"
            said = model(a)
            right += int((said.argmax(1) == b).sum())
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(said, b).backward()
            optimizer.step()
        total = torch.ones(1, device=get_device())
        dist.all_reduce(total)
        whole = {name.removeprefix("module."): value for name, value in model.state_dict().items()}
        train.report(
            {
                "accuracy": right / len(rows),
                "backend": dist.get_backend(),
                "device": str(next(model.parameters()).device),
                "total": total.item(),
                "gpus": len(shoal.get_gpu_ids()),
            },
            checkpoint=TorchCheckpoint.from_state_dict(whole),
        )


def test_a_rank_with_a_gpu_trains_over_nccl(run_config: Make) -> None:
    def fit(epochs: int) -> Any:
        return TorchTrainer(
            digits_on_a_gpu,
            train_loop_config={"epochs": epochs},
            scaling_config=ScalingConfig(num_workers=1, use_gpu=True),
            run_config=run_config(name="gpu"),
        ).fit()

    first = fit(10).metrics
    assert (first["backend"], first["device"], first["total"], first["gpus"]) == ("nccl", "cuda:0", 1.0, 1)
    assert first["accuracy"] >= 0.95
    assert fit(1).metrics["accuracy"] >= first["accuracy"] - 0.02  # goes on from the weights of before


def where(config: dict[str, Any]) -> None:
    import torch

    from shoal.train.torch import get_device

    value = torch.ones(2, device=get_device())
    train.report({"device": str(value.device), "sum": train.collective.all_gather(float(value.sum()))})


def test_two_ranks_share_a_gpu_over_gloo(run_config: Make) -> None:
    from shoal.train.torch import TorchConfig

    result = TorchTrainer(
        where,
        train_loop_config={},
        torch_config=TorchConfig(backend="gloo"),  # NCCL refuses two ranks on one device
        scaling_config=ScalingConfig(
            num_workers=2, use_gpu=True, resources_per_worker={"CPU": 1, "GPU": 0.5}
        ),
        run_config=run_config(name="shares"),
    ).fit()
    assert result.metrics == {"device": "cuda:0", "sum": [2.0, 2.0]}
