"""jax.distributed among the workers."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError
from shoal.train.backend import Backend, BackendConfig
from shoal.train.group import WorkerGroup
from shoal.train.lightgbm.backend import free_port
from shoal.train.session import session_here


class JaxBackend(Backend):
    """Has rank 0 coordinate, and all ranks meet there."""

    def on_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Choose a port in rank 0, then let all ranks meet."""
        assert isinstance(backend_config, JaxConfig)
        port = worker_group.execute_single(0, free_port)
        address = f"{worker_group.workers[0].metadata.node_ip}:{port}"
        platform = "tpu" if backend_config.use_tpu else "cuda" if backend_config.use_gpu else "cpu"
        size = len(worker_group)
        worker_group.execute_each([(meet, address, size, rank, platform) for rank in range(size)])

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Let all ranks part."""
        worker_group.execute(part)


@attrs.frozen
class JaxConfig(BackendConfig):
    """jax.distributed, on CPUs unless `use_tpu` or `use_gpu` is set. Raises ConfigError for both.

    Example: `JaxTrainer(train, jax_config=JaxConfig())`
    """

    preload: ClassVar[tuple[str, ...]] = ("numpy",)  # JAX starts threads when it is imported

    use_tpu: bool = False
    use_gpu: bool = False

    def __attrs_post_init__(self) -> None:
        if self.use_tpu and self.use_gpu:
            raise ConfigError("use_tpu and use_gpu cannot both be set")

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return JaxBackend

    @property
    def framework(self) -> str | None:
        """The framework's name."""
        return "jax"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings."""
        return attrs.asdict(self)


def meet(address: str, size: int, rank: int, platform: str) -> None:
    """Join jax.distributed. Runs in every rank."""
    os.environ.setdefault("JAX_PLATFORMS", platform)
    if door := session_here("meet").stash.pop("door", None):
        door.close()
    import jax

    if platform == "cpu":
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator_address=address, num_processes=size, process_id=rank, initialization_timeout=120
    )


def part() -> None:
    """Leave jax.distributed. Runs in every rank."""
    import jax

    jax.distributed.shutdown()
