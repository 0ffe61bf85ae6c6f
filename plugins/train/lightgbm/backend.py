"""LightGBM's sockets among the workers."""

from __future__ import annotations

import socket
from typing import Any, ClassVar

import attrs

from shoal.train.backend import Backend, BackendConfig
from shoal.train.group import WorkerGroup
from shoal.train.session import session_here


class LightGBMBackend(Backend):
    """Finds a port for each rank, and tells all ranks all of them."""

    def on_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Give each rank a port of its own, and the list of all machines."""
        ports = worker_group.execute(free_port)
        places = [
            f"{worker.metadata.node_ip}:{port}"
            for worker, port in zip(worker_group.workers, ports, strict=True)
        ]
        worker_group.execute_each([(remember, ",".join(places), port) for port in ports])


@attrs.frozen
class LightGBMConfig(BackendConfig):
    """LightGBM's sockets.

    Example: `LightGBMTrainer(train, lightgbm_config=LightGBMConfig())`
    """

    preload: ClassVar[tuple[str, ...]] = ("numpy", "pandas")

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return LightGBMBackend

    @property
    def framework(self) -> str | None:
        """The framework's name."""
        return "lightgbm"

    def to_dict(self) -> dict[str, Any]:
        """Return the settings: none."""
        return {}


def free_port() -> int:
    """Return a port that nobody listens at, kept for this process until it is used. Runs in every rank."""
    door = socket.socket()
    door.bind(("", 0))
    session_here("free_port").stash["door"] = door  # so that two ranks of a node do not find the same
    port: int = door.getsockname()[1]
    return port


def remember(machines: str, port: int) -> None:
    """Keep where everybody is, and let go of the port. Runs in every rank."""
    stash = session_here("remember").stash
    stash.pop("door").close()
    stash["network"] = {
        "machines": machines,
        "local_listen_port": port,
        "num_machines": machines.count(",") + 1,
    }


def get_network_params() -> dict[str, Any]:
    """Return the parameters by which LightGBM's ranks find each other; nothing for one worker.

    Raises SessionMisuseError outside of a training function.

    Example: `lightgbm.train({**params, "tree_learner": "data", **get_network_params()}, dataset)`
    """
    found: dict[str, Any] = session_here("get_network_params()").stash.get("network", {})
    return dict(found) if found.get("num_machines", 1) > 1 else {}
