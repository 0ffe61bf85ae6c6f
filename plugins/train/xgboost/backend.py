"""XGBoost's collective operations among the workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError, describe
from shoal.train.backend import Backend, BackendConfig
from shoal.train.group import WorkerGroup
from shoal.train.session import session_here


class XGBoostBackend(Backend):
    """Opens a tracker in rank 0, at which all ranks meet."""

    def on_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Open the tracker, and tell every rank where it is."""
        address = worker_group.workers[0].metadata.node_ip
        found = worker_group.execute_single(0, open_tracker, address, len(worker_group))
        worker_group.execute(remember, found)


@attrs.frozen
class XGBoostConfig(BackendConfig):
    """XGBoost's collective operations. `xgboost_communicator` can only be "rabit".

    Raises ConfigError for another.

    Example: `XGBoostTrainer(train, xgboost_config=XGBoostConfig())`
    """

    preload: ClassVar[tuple[str, ...]] = ("numpy", "pandas")

    xgboost_communicator: str = "rabit"

    def __attrs_post_init__(self) -> None:
        if self.xgboost_communicator != "rabit":
            raise ConfigError(
                f"xgboost_communicator can only be 'rabit', not {describe(self.xgboost_communicator)}"
            )

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return XGBoostBackend

    @property
    def framework(self) -> str | None:
        """The framework's name."""
        return "xgboost"

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[Any]] | None:
        """What the training function runs within: XGBoost's communicator."""
        return communicating

    def to_dict(self) -> dict[str, Any]:
        """Return the settings."""
        return attrs.asdict(self)


def open_tracker(address: str, workers: int) -> dict[str, Any]:
    """Open the tracker; return what ranks need to find it. Runs in rank 0."""
    from xgboost.tracker import RabitTracker

    tracker = RabitTracker(n_workers=workers, host_ip=address, sortby="task")
    tracker.start()
    threading.Thread(target=tracker.wait_for, name="shoal-tracker", daemon=True).start()
    session_here("open_tracker").stash["tracker"] = tracker
    return dict(tracker.worker_args())


def remember(found: dict[str, Any]) -> None:
    """Keep where the tracker is. Runs in every rank."""
    session_here("remember").stash["communicator"] = found


def communicating() -> AbstractContextManager[Any]:
    """Return XGBoost's communicator, as a context manager. Runs in every rank."""
    from xgboost.collective import CommunicatorContext

    session = session_here("communicating")
    # Ranks of XGBoost are in the order of these names.
    context: AbstractContextManager[Any] = CommunicatorContext(
        **session.stash["communicator"], dmlc_task_id=f"{session.place.world_rank:08d}"
    )
    return context
