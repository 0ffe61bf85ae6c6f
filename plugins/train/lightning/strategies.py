"""Lightning's strategies and environment, on ranks that exist already."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import strategies
from lightning.pytorch.plugins import environments

from shoal.train.session import session_here
from shoal.train.torch.devices import get_device


def _sampling() -> dict[str, Any]:
    place = session_here("a strategy of shoal.train.lightning").place
    return {"num_replicas": place.world_size, "rank": place.world_rank}


class DDPStrategy(strategies.DDPStrategy):  # type: ignore[misc]  # lightning has no types here
    """Lightning's DDPStrategy on this run's ranks. Takes what that takes.

    Example: `Trainer(strategy=DDPStrategy(), plugins=[LightningEnvironment()], devices="auto")`
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    @property
    def root_device(self) -> Any:
        """This worker's device."""
        return get_device()

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Which rows are this rank's."""
        return _sampling()


class FSDPStrategy(strategies.FSDPStrategy):  # type: ignore[misc]
    """Lightning's FSDPStrategy on this run's ranks, which need GPUs for it. Takes what that takes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    @property
    def root_device(self) -> Any:
        """This worker's device."""
        return get_device()

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Which rows are this rank's."""
        return _sampling()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return all ranks' weights together, on rank 0."""
        state: dict[str, Any] = super().lightning_module_state_dict()
        return state


class DeepSpeedStrategy(strategies.DeepSpeedStrategy):  # type: ignore[misc]
    """Lightning's DeepSpeedStrategy on this run's ranks, which need GPUs for it. Takes what that takes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    @property
    def root_device(self) -> Any:
        """This worker's device."""
        return get_device()

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Which rows are this rank's."""
        return _sampling()


class LightningEnvironment(environments.LightningEnvironment):  # type: ignore[misc]
    """Tells Lightning which rank this is, and that nobody has to be started.

    Example: `Trainer(plugins=[LightningEnvironment()])`
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    @property
    def creates_processes_externally(self) -> bool:
        """Whether all ranks are there already."""
        return True

    def world_size(self) -> int:
        """Return how many workers train."""
        return session_here("LightningEnvironment").place.world_size

    def global_rank(self) -> int:
        """Return this worker's number."""
        return session_here("LightningEnvironment").place.world_rank

    def local_rank(self) -> int:
        """Return this worker's number on its node."""
        return session_here("LightningEnvironment").place.local_rank

    def node_rank(self) -> int:
        """Return the node's number."""
        return session_here("LightningEnvironment").place.node_rank

    def set_world_size(self, size: int) -> None:
        """Change nothing: the run says how many there are."""

    def set_global_rank(self, rank: int) -> None:
        """Change nothing: the run says which rank this is."""

    def teardown(self) -> None:
        """Change nothing: the process group is the run's."""
