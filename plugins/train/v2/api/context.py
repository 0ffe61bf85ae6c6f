"""Contexts with and without a run around them."""

from __future__ import annotations

from shoal.train.context import TrainContext
from shoal.train.session import Orders, Place, Session
from shoal.train.storage import Storage

DistributedTrainContext = TrainContext


class LocalTrainContext(TrainContext):
    """What a training function knows that is called without a trainer: what is given here."""

    def __init__(
        self,
        experiment_name: str,
        world_size: int = 1,
        world_rank: int = 0,
        local_rank: int = 0,
        local_world_size: int = 1,
        node_rank: int = 0,
    ) -> None:
        place = Place(
            world_rank=world_rank,
            world_size=world_size,
            local_rank=local_rank,
            local_world_size=local_world_size,
            node_rank=node_rank,
            nodes={},
        )
        orders = Orders(
            experiment=experiment_name,
            storage=Storage(None, "."),
            checkpoint=None,
            first_index=0,
            mesh={"dp": world_size},
            metadata={},
        )
        super().__init__(Session(place, orders, {}))
