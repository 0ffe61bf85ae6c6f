"""Which devices a worker has."""

from __future__ import annotations

from typing import Any

import shoal
from shoal.train.session import session_here


def get_device() -> Any:
    """Return this worker's torch.device: its (first) GPU, or the CPU.

    Example: `model.to(train.torch.get_device())`
    """
    return get_devices()[0]


def get_devices() -> list[Any]:
    """Return all torch devices of this worker.

    Raises SessionMisuseError outside of a training function.
    """
    import torch

    session_here("train.torch.get_device()")
    gpus = len(shoal.get_gpu_ids())
    if gpus and torch.cuda.is_available():
        return [torch.device("cuda", index) for index in range(min(gpus, torch.cuda.device_count()))]
    return [torch.device("cpu")]
