"""What training functions with PyTorch call: models, loaders and devices made fit for many ranks."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

from shoal.errors import describe
from shoal.train.mesh import data_place
from shoal.train.session import session_here
from shoal.train.torch.devices import get_device
from shoal.train.torch.parallel import get_data_mesh


def prepare_model(
    model: Any,
    move_to_device: Any = True,
    parallel_strategy: str | None = "ddp",
    parallel_strategy_kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """Return the model on this worker's device, and so that all ranks train it together.

    Parameters: `move_to_device` may name another device, or be False. `parallel_strategy` is "ddp"
    (DistributedDataParallel), "fsdp" (torch's fully_shard: parameters, gradients and the optimizer's state are dealt to
    the ranks; make the optimizer after this), or None; with one worker it is nothing. `parallel_strategy_kwargs` go to
    it. With `ScalingConfig.parallel` it is done over the axes dp, fsdp and cp only; with both dp and fsdp, "fsdp" deals
    parameters along fsdp and keeps copies along dp. A model in parts (tp) takes "fsdp".
    Raises ValueError for another strategy.

    Example: `model = train.torch.prepare_model(model)`
    """
    import torch

    session = session_here("train.torch.prepare_model()")
    if parallel_strategy not in ("ddp", "fsdp", None):
        raise ValueError(
            f"parallel_strategy must be 'ddp', 'fsdp' or None, not {describe(parallel_strategy)}"
        )
    device = get_device() if move_to_device is True else move_to_device
    if move_to_device:
        model = model.to(device)
    if session.stash.get("amp"):
        model = _Mixed.over(model, get_device().type)
    if parallel_strategy is None or session.place.world_size == 1:
        return model
    given = dict(parallel_strategy_kwargs or {})
    if any(axis != "dp" for axis in session.orders.mesh):
        mesh = get_data_mesh(dealt=parallel_strategy == "fsdp")
        if mesh is None:
            return model  # no two ranks have rows of their own
        given = {"mesh" if parallel_strategy == "fsdp" else "device_mesh": mesh, **given}
    if parallel_strategy == "fsdp":
        from torch.distributed.fsdp import fully_shard

        return fully_shard(model, **given)
    on_gpu = get_device().type == "cuda" and move_to_device
    if on_gpu:
        given = {"device_ids": [device], "output_device": device, **given}
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return model  # DistributedDataParallel refuses one that learns nothing
    return torch.nn.parallel.DistributedDataParallel(model, **given)


class PreparedDataLoader:
    """A loader whose batches are on the device; of a sampler that deals rows to the ranks, each loop is a new epoch."""

    def __init__(self, loader: Any, device: Any, auto_transfer: bool) -> None:
        self._loader = loader
        self._device = device
        self._ahead = auto_transfer and getattr(device, "type", "cpu") == "cuda"
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["_loader"], name)

    def __iter__(self) -> Iterator[Any]:
        sampler: Any = getattr(self._loader, "sampler", None)
        if getattr(sampler, "epoch", None) is not None and hasattr(sampler, "set_epoch"):
            # Whoever sets the epoch sets it to another number than the one of the loop before.
            if sampler.epoch == self._epoch - 1:
                sampler.set_epoch(self._epoch)
            self._epoch = sampler.epoch + 1
        if self._device is None or getattr(self._device, "type", "cpu") == "cpu":
            yield from self._loader
            return
        held = None
        for batch in self._loader:
            moved = _moved(batch, self._device, self._ahead)
            if not self._ahead:
                yield moved
                continue
            if held is not None:
                yield held
            held = moved
        if held is not None:
            yield held


def _moved(value: Any, device: Any, ahead: bool) -> Any:
    if hasattr(value, "to"):
        return value.to(device, non_blocking=ahead)
    if isinstance(value, Mapping):
        return {key: _moved(part, device, ahead) for key, part in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(part, device, ahead) for part in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(part, device, ahead) for part in value)
    return value


def prepare_data_loader(
    data_loader: Any, add_dist_sampler: bool = True, move_to_device: bool = True, auto_transfer: bool = True
) -> Any:
    """Return a loader that gives this rank its part of the rows, on its device.

    Ranks that share the rows (along tp, pp and cp of `ScalingConfig.parallel`) get the same part.

    Parameters: with `add_dist_sampler` a loader of a dataset with indices gets a DistributedSampler, which shuffles if
    the loader did, anew in each loop; one that has such a sampler, or streams, stays as it is. `auto_transfer` copies
    the next batch to a GPU while this one is worked with.
    Raises TypeError for what is no DataLoader.

    Example: `for x, y in train.torch.prepare_data_loader(loader): ...`
    """
    from torch.utils import data

    session = session_here("train.torch.prepare_data_loader()")
    if not isinstance(data_loader, data.DataLoader):
        raise TypeError(f"data_loader must be a torch DataLoader, not {describe(data_loader)}")
    streams = isinstance(data_loader.dataset, data.IterableDataset)
    dealt = isinstance(getattr(data_loader, "sampler", None), data.DistributedSampler)
    rank, size = data_place(session.orders.mesh, session.place.world_rank)
    if add_dist_sampler and size > 1 and not streams and not dealt:
        data_loader = _dealt(data_loader, size, rank)
    return PreparedDataLoader(data_loader, get_device() if move_to_device else None, auto_transfer)


def _dealt(loader: Any, size: int, rank: int) -> Any:
    from torch.utils import data

    if loader.batch_size is None:
        raise ValueError(
            "a DataLoader with a batch_sampler of its own cannot be dealt to ranks: give it a DistributedSampler and "
            "prepare_data_loader(add_dist_sampler=False)"
        )
    shuffles = not isinstance(loader.sampler, data.SequentialSampler)
    sampler: Any = data.DistributedSampler(loader.dataset, num_replicas=size, rank=rank, shuffle=shuffles)
    options: dict[str, Any] = {
        "batch_size": loader.batch_size,
        "num_workers": loader.num_workers,
        "collate_fn": loader.collate_fn,
        "pin_memory": loader.pin_memory,
        "drop_last": loader.drop_last,
        "timeout": loader.timeout,
        "worker_init_fn": _seeded(loader.worker_init_fn, rank),
        "generator": loader.generator,
        "persistent_workers": loader.persistent_workers,
    }
    if loader.num_workers:
        options["prefetch_factor"] = loader.prefetch_factor
        options["multiprocessing_context"] = loader.multiprocessing_context
    return data.DataLoader(loader.dataset, sampler=sampler, **options)


def _seeded(given: Any, rank: int) -> Any:
    seed = session_here("prepare_data_loader").stash.get("seed")
    if seed is None:
        return given

    def begin(worker: int) -> None:
        random.seed(seed + 1000 * rank + worker)
        if given is not None:
            given(worker)

    return begin


def enable_reproducibility(seed: int = 0) -> None:
    """Seed random, NumPy and torch, and have torch use deterministic algorithms only.

    Example: `train.torch.enable_reproducibility(1)`
    """
    import os

    import numpy as np
    import torch

    session_here("train.torch.enable_reproducibility()").stash["seed"] = seed
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def accelerate(amp: bool = False) -> None:
    """With `amp`, compute in mixed precision: float16 on a GPU (gradients are scaled), bfloat16 on a CPU.

    Call it before prepare_model and prepare_optimizer, and `backward(loss)` instead of `loss.backward()`.
    """
    import torch

    session = session_here("train.torch.accelerate()")
    session.stash["amp"] = amp
    if amp and get_device().type == "cuda":
        session.stash["scaler"] = torch.amp.GradScaler("cuda")


def prepare_optimizer(optimizer: Any) -> Any:
    """Return an optimizer that goes with `accelerate(amp=True)`; without it the same.

    Example: `optimizer = train.torch.prepare_optimizer(optimizer)`
    """
    scaler = session_here("train.torch.prepare_optimizer()").stash.get("scaler")
    return optimizer if scaler is None else _Scaled(optimizer, scaler)


def backward(tensor: Any) -> None:
    """Compute gradients as `tensor.backward()` does, scaled as `accelerate(amp=True)` needs it."""
    scaler = session_here("train.torch.backward()").stash.get("scaler")
    (tensor if scaler is None else scaler.scale(tensor)).backward()


class _Scaled:
    """An optimizer whose steps go through a gradient scaler."""

    def __init__(self, optimizer: Any, scaler: Any) -> None:
        self._optimizer = optimizer
        self._scaler = scaler

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["_optimizer"], name)

    def step(self, closure: Any = None) -> Any:
        if closure is not None:
            raise ValueError("step() takes no closure with accelerate(amp=True)")
        self._scaler.step(self._optimizer)
        self._scaler.update()


class _Mixed:
    @staticmethod
    def over(model: Any, device: str) -> Any:
        """Let a model's forward compute in mixed precision."""
        import torch

        plain = model.forward
        kind = torch.float16 if device == "cuda" else torch.bfloat16

        def forward(*args: Any, **kwargs: Any) -> Any:
            with torch.autocast(device, dtype=kind):
                return plain(*args, **kwargs)

        model.forward = forward
        return model


@contextlib.contextmanager
def profiled(name: str = "trace", **options: Any) -> Iterator[Any]:
    """Profile what runs within with torch.profiler; the trace goes to the run's folder, one file for each rank.

    Parameters: `options` are torch.profiler.profile's.

    Example: `with train.torch.profiled("first_epoch"): train_one_epoch()`
    """
    import os
    import tempfile

    from torch.profiler import profile

    session = session_here("train.torch.profiled()")
    with profile(**options) as profiler:
        yield profiler
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, f"{name}_rank{session.place.world_rank}.json")
        profiler.export_chrome_trace(file)
        session.orders.storage.upload(folder, "traces")
