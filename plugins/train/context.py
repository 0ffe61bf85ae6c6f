"""Which rank of how many a worker is."""

from __future__ import annotations

from typing import Any

from shoal.train.mesh import data_place
from shoal.train.session import Session, session_here
from shoal.train.storage import Storage


class TrainContext:
    """What a training function can know of its place. `train.get_context()` gives it.

    Raises SessionMisuseError outside of a training function.
    """

    def __init__(self, session: Session | None = None) -> None:
        self._session = session_here("TrainContext()") if session is None else session

    def get_world_size(self) -> int:
        """Return how many workers train."""
        return self._session.place.world_size

    def get_world_rank(self) -> int:
        """Return this worker's number, from 0."""
        return self._session.place.world_rank

    def get_local_rank(self) -> int:
        """Return this worker's number on its node, from 0."""
        return self._session.place.local_rank

    def get_local_world_size(self) -> int:
        """Return how many workers train on this node."""
        return self._session.place.local_world_size

    def get_node_rank(self) -> int:
        """Return the node's number, from 0."""
        return self._session.place.node_rank

    def get_experiment_name(self) -> str:
        """Return the run's name."""
        return self._session.orders.experiment

    def get_storage(self) -> Storage:
        """Return the run's folder."""
        return self._session.orders.storage

    def get_metadata(self) -> dict[str, Any]:
        """Return the trainer's `metadata`."""
        return dict(self._session.orders.metadata)

    def get_trial_name(self) -> str:
        """Return the run's name."""
        return self._session.orders.experiment

    def get_trial_id(self) -> str:
        """Return the run's name."""
        return self._session.orders.experiment

    def get_trial_dir(self) -> str:
        """Return the path of the run's folder."""
        return self._session.orders.storage.path

    def get_mesh_shape(self) -> dict[str, int]:
        """Return the axes of `ScalingConfig.parallel` and their sizes, {"dp": n} if none were given."""
        return dict(self._session.orders.mesh)

    def get_data_parallel_rank(self) -> int:
        """Return this worker's number among those that have rows of their own, from 0.

        Example: `train.get_context().get_data_parallel_rank()  # 1 for rank 3 of parallel={"dp": 2, "tp": 2}`
        """
        return data_place(self._session.orders.mesh, self._session.place.world_rank)[0]

    def get_data_parallel_size(self) -> int:
        """Return how many parts the rows are dealt to: the workers along dp and fsdp."""
        return data_place(self._session.orders.mesh, self._session.place.world_rank)[1]

    def __repr__(self) -> str:
        return f"TrainContext(rank {self.get_world_rank()} of {self.get_world_size()})"
