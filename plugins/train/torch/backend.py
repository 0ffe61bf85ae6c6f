"""torch.distributed among the workers: a store that rank 0 holds, and a process group of all."""

from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Callable
from typing import Any, ClassVar

import attrs

import shoal
from shoal.errors import ConfigError, describe
from shoal.train.backend import Backend, BackendConfig
from shoal.train.group import WorkerGroup
from shoal.train.session import session_here

_BACKENDS = ("gloo", "nccl", "mpi", "ucc", "xccl", "hccl")


class TorchBackend(Backend):
    """Makes the process group before the training function runs, and takes it down after."""

    def on_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Open rank 0's store, then let all ranks meet there."""
        assert isinstance(backend_config, TorchConfig)
        first = worker_group.workers[0].metadata
        has_gpus = bool(first.gpu_ids)
        name = backend_config.backend or ("nccl" if has_gpus else "gloo")
        size = len(worker_group)
        port = worker_group.execute_single(0, open_store, first.node_ip, size, backend_config.timeout_s)
        worker_group.execute_each(
            [
                (meet, name, first.node_ip, port, worker.metadata.place.world_rank, backend_config)
                for worker in worker_group.workers
            ]
        )

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Take the process group down, so that no rank complains about the others."""
        worker_group.execute(part)


@attrs.frozen
class TorchConfig(BackendConfig):
    """torch.distributed.

    Parameters: `backend` is "gloo", "nccl" or another of torch's; None: NCCL if the workers have GPUs, else Gloo. With
    `init_method` "env" the ranks also find MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE and
    NODE_RANK in their environment, as under torchrun; with "tcp" not. `timeout_s` is for how many seconds a collective
    operation waits.
    Raises ConfigError.

    Example: `TorchTrainer(train, torch_config=TorchConfig(backend="gloo", timeout_s=60))`
    """

    preload: ClassVar[tuple[str, ...]] = ("torch", "torch.distributed", "torch.utils.data", "numpy")

    backend: str | None = None
    init_method: str = "env"
    timeout_s: int = 1800

    def __attrs_post_init__(self) -> None:
        if self.backend is not None and self.backend.partition(":")[0] not in (*_BACKENDS, "cpu", "cuda"):
            raise ConfigError(f"backend must be one of {', '.join(_BACKENDS)}, not {describe(self.backend)}")
        if self.init_method not in ("env", "tcp"):
            raise ConfigError(f"init_method must be 'env' or 'tcp', not {describe(self.init_method)}")
        if not self.timeout_s > 0:
            raise ConfigError("timeout_s must be more than 0 seconds")

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return TorchBackend

    @property
    def framework(self) -> str | None:
        """The framework's name."""
        return "torch"

    @property
    def reset(self) -> Callable[[], None] | None:
        """Leave the process group. Over NCCL a process ends with its group: an operation that hangs holds its GPU."""
        return part if self.backend in (None, "gloo") else None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings."""
        return attrs.asdict(self)


def open_store(address: str, size: int, timeout: float) -> int:
    """Open the store that ranks meet at, on the node's address only; return its port. Runs in rank 0."""
    import torch.distributed as dist

    door = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind((address, 0))
    door.listen(size + 8)
    port: int = door.getsockname()[1]
    # torch's own socket would be open on every address of the machine, and asks nobody for a password.
    store = dist.TCPStore(
        address,
        port,
        size,
        is_master=True,
        timeout=datetime.timedelta(seconds=timeout),
        wait_for_workers=False,
        master_listen_fd=door.detach(),
    )
    session_here("open_store").stash["store"] = store
    return port


def meet(backend: str, address: str, port: int, rank: int, config: TorchConfig) -> None:
    """Join the process group. Runs in every rank."""
    import torch
    import torch.distributed as dist

    session = session_here("meet")
    place = session.place
    wait = datetime.timedelta(seconds=config.timeout_s)
    if address.startswith("127."):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if config.init_method == "env":
        os.environ.update(
            MASTER_ADDR=address,
            MASTER_PORT=str(port),
            RANK=str(rank),
            WORLD_SIZE=str(place.world_size),
            LOCAL_RANK=str(place.local_rank),
            LOCAL_WORLD_SIZE=str(place.local_world_size),
            NODE_RANK=str(place.node_rank),
            GROUP_RANK=str(place.node_rank),
            # A program that a rank starts (a script of Megatron-LM's) meets the others at the store that is there.
            TORCHELASTIC_USE_AGENT_STORE="True",
            TORCHELASTIC_RESTART_COUNT="0",
        )
    if "OMP_NUM_THREADS" not in os.environ:
        # It was imported before this worker was forked, and took all cores for its own.
        cpus = shoal.get_runtime_context().get_assigned_resources().get("CPU", 1.0)
        torch.set_num_threads(max(1, int(cpus)))
        os.environ["OMP_NUM_THREADS"] = str(max(1, int(cpus)))
    if torch.cuda.is_available() and shoal.get_gpu_ids():
        torch.cuda.set_device(0)
    store = session.stash.get("store")
    if store is None:
        store = dist.TCPStore(address, port, place.world_size, is_master=False, timeout=wait)
        session.stash["store"] = store
    dist.init_process_group(backend, store=store, rank=rank, world_size=place.world_size, timeout=wait)


def part() -> None:
    """Leave the process group. Runs in every rank."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
    session_here("part").stash.pop("store", None)
