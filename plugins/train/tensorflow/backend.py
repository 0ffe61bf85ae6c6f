"""TensorFlow's cluster among the workers: TF_CONFIG."""

from __future__ import annotations

import json
import os
from typing import Any, ClassVar

import attrs

from shoal.train.backend import Backend, BackendConfig
from shoal.train.group import WorkerGroup
from shoal.train.lightgbm.backend import free_port
from shoal.train.session import session_here


class TensorflowBackend(Backend):
    """Finds a port for each rank, and tells all ranks all of them."""

    def on_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Write TF_CONFIG in every rank's environment."""
        ports = worker_group.execute(free_port)
        places = [
            f"{worker.metadata.node_ip}:{port}"
            for worker, port in zip(worker_group.workers, ports, strict=True)
        ]
        worker_group.execute_each([(write_cluster, places, rank) for rank in range(len(places))])


@attrs.frozen
class TensorflowConfig(BackendConfig):
    """TensorFlow's cluster, as tf.distribute.MultiWorkerMirroredStrategy finds it.

    Example: `TensorflowTrainer(train, tensorflow_config=TensorflowConfig())`
    """

    preload: ClassVar[tuple[str, ...]] = ("numpy",)  # TensorFlow starts threads when it is imported

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return TensorflowBackend

    @property
    def framework(self) -> str | None:
        """The framework's name."""
        return "tensorflow"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings: none."""
        return {}


def write_cluster(places: list[str], rank: int) -> None:
    """Write TF_CONFIG. Runs in every rank."""
    session_here("write_cluster").stash.pop("door").close()
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": places}, "task": {"type": "worker", "index": rank}}
    )
