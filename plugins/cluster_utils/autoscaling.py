"""AutoscalingCluster: a head whose other nodes come and go with the work, all on this machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from shoal.cluster_utils.cluster import Cluster
from shoal.interfaces.nodes import NodeStart
from shoal.scaling import end_machines, load_nodes

_NAME = "autoscaling"
_KEYS = {  # the reference's names of settings: ours, and what ours are of theirs
    "idle_timeout_minutes": ("idle_seconds", 60.0),
    "max_workers": ("max_machines", 1),
    "upscaling_speed": ("upscaling_speed", 1),
}


class AutoscalingCluster:
    """A cluster with a real autoscaler, whose machines are processes of this one; for tests of programs and policies.

    Parameters: `head_resources`, such as {"CPU": 1}; `worker_node_types`, by name, each with `resources` and optionally
    `min_workers` (0), `max_workers` (10), `labels` and `idle_timeout_s`; `autoscaler_v2` is accepted for programs
    written for the reference: there is one autoscaler. `config_kwargs` are keys of a cluster's file, see
    docs/autoscaling.md, or the reference's `idle_timeout_minutes`, `max_workers`, `upscaling_speed`. As a context
    manager it starts and ends. Raises RuntimeError with what a command said if the cluster does not come up, ValueError
    for a type that is none.

    Example:

        with AutoscalingCluster({"CPU": 1}, {"large": {"resources": {"CPU": 8}}}, idle_seconds=5) as cluster:
            shoal.init(**cluster.init_arguments())
    """

    def __init__(
        self,
        head_resources: Mapping[str, float],
        worker_node_types: Mapping[str, Mapping[str, Any]],
        autoscaler_v2: bool = False,
        **config_kwargs: Any,
    ) -> None:
        self._head_resources = dict(head_resources)
        self._types = {_plain_name(name): _type_of(name, one) for name, one in worker_node_types.items()}
        self._config: dict[str, Any] = {}
        for key, value in config_kwargs.items():
            name, factor = _KEYS.get(key, (key, None))
            self._config[name] = value if factor is None else value * factor
        self._cluster: Cluster | None = None
        self._kept_environment: dict[str, str | None] = {}

    def start(
        self,
        _system_config: Mapping[str, Any] | None = None,
        override_env: Mapping[str, str] | None = None,
    ) -> None:
        """Start the head and its autoscaler. Until `shutdown`, `shoal.init("auto")` joins this cluster.

        Parameters: `_system_config`, settings of `shoal config` for all its nodes; `override_env`, variables that its
        processes have beside this process's. Raises RuntimeError if it does not come up, or is up already.
        """
        if self._cluster is not None:
            raise RuntimeError("the cluster is up already")
        cluster = Cluster()
        try:
            self._environment(override_env or {})
            path = os.path.join(cluster.folder, "cluster.json")
            settings = dict(_system_config or {})
            described = {
                "name": _NAME,
                "provider": {"kind": "process", **self._provider_options(cluster)},
                "node_types": self._types,
                "settings": settings,
                "interval_seconds": 0.2,
                "idle_seconds": 60.0,
                **self._config,
            }
            with open(path, "w", encoding="utf-8") as file:
                json.dump(described, file)
            resources = dict(self._head_resources)
            given: dict[str, Any] = {"num_cpus": resources.pop("CPU", 0), "num_gpus": resources.pop("GPU", 0)}
            for name in ("memory", "object_store_memory"):
                if name in resources:
                    given[name] = int(resources.pop(name))
            cluster.add_node(**given, resources=resources, autoscaling=path, **settings)
            self._environment({"SHOAL_ADDRESS": cluster.address, "SHOAL_TEMP_DIR": cluster.folder})
        except BaseException:
            self._restore_environment()
            cluster.shutdown()
            raise
        self._cluster = cluster

    def _provider_options(self, cluster: Cluster) -> dict[str, str]:
        return {"folder": os.path.join(cluster.folder, "machines"), "temp_dir": cluster.folder}

    def _environment(self, variables: Mapping[str, str]) -> None:
        for name, value in variables.items():
            self._kept_environment.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def _restore_environment(self) -> None:
        for name, value in self._kept_environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._kept_environment.clear()

    @property
    def address(self) -> str:
        """The address of the head. Raises RuntimeError before `start`."""
        return self._running().address

    @property
    def head(self) -> Cluster:
        """The head's own part, to look at it or to kill it. Raises RuntimeError before `start`."""
        return self._running()

    def _running(self) -> Cluster:
        if self._cluster is None:
            raise RuntimeError("the cluster is not up; call start() first")
        return self._cluster

    def init_arguments(self) -> dict[str, str]:
        """Return what a program gives to shoal.init() to join."""
        return self._running().init_arguments()

    def shutdown(self) -> None:
        """End the head, its autoscaler, and all machines. Afterwards, or twice, does nothing."""
        cluster, self._cluster = self._cluster, None
        if cluster is None:
            return
        self._restore_environment()
        try:
            head = cluster.head_node
            if head is not None and cluster.remaining_processes_alive():
                cluster.remove_node(head)  # first, since its autoscaler would replace what ends
            start = NodeStart(head_address="", credentials_file="")
            provider = load_nodes("process", _NAME, start, self._provider_options(cluster))
            end_machines(provider)
            provider.close()
        finally:
            cluster.shutdown()

    def __enter__(self) -> AutoscalingCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


def _plain_name(name: str) -> str:
    """Return a name of a node type as our files have it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _type_of(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    known = {"resources", "min_workers", "max_workers", "labels", "idle_timeout_s", "node_config"}
    if unknown := sorted(given.keys() - known):
        raise ValueError(
            f"the node type {name!r} has unknown keys {unknown}; there are {', '.join(sorted(known))}"
        )
    found = {
        "resources": dict(given.get("resources", {})),
        "min": given.get("min_workers", 0),
        "max": given.get("max_workers", 10),
        "labels": dict(given.get("labels", {})),
    }
    if given.get("idle_timeout_s") is not None:
        found["idle_seconds"] = given["idle_timeout_s"]
    return found
