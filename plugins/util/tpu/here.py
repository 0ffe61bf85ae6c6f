"""What this machine says of its own TPUs: variables that the platform sets, and device files."""

from __future__ import annotations

import glob
import importlib
import os
import re
from typing import Any

from shoal.errors import ConfigError
from shoal.util.tpu.topology import chips_per_host, get_tpu_version_from_type

_NAME, _HOSTS = "TPU_NAME", "TPU_WORKER_HOSTNAMES"
_TYPE, _TOPOLOGY = "TPU_ACCELERATOR_TYPE", "TPU_TOPOLOGY"


def get_current_pod_name() -> str | None:
    """Return the name of the slice that this machine is part of (TPU_NAME); None without one."""
    return os.environ.get(_NAME) or None


def get_current_pod_worker_count() -> int | None:
    """Return how many hosts this machine's slice has; None on a machine that is part of none."""
    hosts = os.environ.get(_HOSTS, "")
    if hosts:
        return len(hosts.split(","))
    kind, topology = os.environ.get(_TYPE, ""), os.environ.get(_TOPOLOGY, "")
    if not kind or not topology:
        return None
    version = get_tpu_version_from_type(kind.partition("-")[0])
    chips = 1
    for side in topology.lower().split("x"):
        chips *= int(side)
    return max(1, chips // chips_per_host(topology, version))


def get_num_tpu_chips_on_node() -> int:
    """Return how many chips this machine has, by their device files; 0 without any."""
    chips = [path for path in glob.glob("/dev/accel*") if re.fullmatch(r"/dev/accel\d+", path)]
    return len(chips)


def init_jax_profiler(port: int | None = None) -> Any:
    """Let JAX's profiler listen in this process and return its server. Raises ConfigError without JAX.

    `port` defaults to JAX_PROFILER_PORT, or 9999.
    """
    try:
        profiler: Any = importlib.import_module("jax.profiler")
    except ImportError as error:
        raise ConfigError("init_jax_profiler() needs JAX: pip install jax") from error
    return profiler.start_server(
        port if port is not None else int(os.environ.get("JAX_PROFILER_PORT", "9999"))
    )
