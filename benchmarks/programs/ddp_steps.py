"""Steps of DistributedDataParallel over Gloo: run by torchrun, and as the same code in a training function."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = 20


def measure(count: int, wrap: Any = None) -> float:
    """Return how many steps a second two ranks take; the process group is there."""
    import torch

    torch.manual_seed(0)
    model: Any = torch.nn.Sequential(
        *[layer for _ in range(4) for layer in (torch.nn.Linear(512, 512), torch.nn.ReLU())]
    )
    model = torch.nn.parallel.DistributedDataParallel(model) if wrap is None else wrap(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    rows = torch.randn(64, 512)
    began = 0.0
    for step in range(WARM_UP + count):
        if step == WARM_UP:
            torch.distributed.barrier()
            began = time.perf_counter()
        optimizer.zero_grad()
        model(rows).square().mean().backward()
        optimizer.step()
    torch.distributed.barrier()
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    import torch.distributed as dist

    dist.init_process_group("gloo")
    rate = measure(int(sys.argv[1]))
    if dist.get_rank() == 0:
        Path(sys.argv[2]).write_text(repr(rate))
    dist.destroy_process_group()
