"""What slices of TPUs are made of: arithmetic on topologies such as "4x4", without any cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from shoal.errors import ConfigError, describe

CHIPS_PER_HOST = 4
PER_CHIP_VARIABLE = "TPU_RESOURCE_PER_CHIP"
_FLAT = ("1x1", "2x2", "2x4", "2x8", "4x4", "4x8", "8x8", "8x16", "16x16", "16x32", "32x32")
_SMALL = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")


@attrs.frozen
class Generation:
    """One generation of TPUs. Flat ones have the topologies of `_FLAT` from `least` to `most`."""

    cores_per_chip: int
    least: str
    most: str  # of deep ones: the longest sides, of which each is a multiple of 4
    large_hosts: bool = False  # slices of up to eight chips are one host

    def has(self, topology: str) -> bool:
        """Tell whether there are slices of that form."""
        if self.least in _FLAT:
            return topology in _FLAT[_FLAT.index(self.least) : _FLAT.index(self.most) + 1] and (
                self.large_hosts or topology != "2x8"
            )
        if topology in _SMALL:
            return True
        sides, most = _sides(topology), _sides(self.most)
        return len(sides) == 3 and all(
            side % 4 == 0 and side <= limit for side, limit in zip(sides, most, strict=True)
        )


GENERATIONS: dict[str, Generation] = {
    "v2": Generation(2, "4x4", "16x16"),
    "v3": Generation(2, "4x4", "32x32"),
    "v4": Generation(2, "2x2x1", "12x12x16"),
    "v5p": Generation(2, "2x2x1", "16x16x24"),
    "v5litepod": Generation(1, "1x1", "16x16", True),
    "v6e": Generation(1, "1x1", "16x16", True),
    "v7x": Generation(2, "2x2x1", "8x16x16"),
}


def get_tpu_version_from_type(accelerator_type: str) -> str:
    """Return the generation: "v6e" for "TPU-V6E", "v4" for "tpu4". Raises ConfigError naming those that there are."""
    text = str(accelerator_type).strip().lower()
    if text.startswith("tpu-"):
        text = text.removeprefix("tpu-")
    elif text.startswith("tpu"):
        text = "v" + text.removeprefix("tpu")
    if text not in GENERATIONS:
        raise ConfigError(
            f"accelerator_type must be one of {', '.join(GENERATIONS)}, or TPU- and one of them, "
            f"not {describe(accelerator_type)}"
        )
    return text


def chips_of(topology: str) -> int:
    """Return how many chips a slice of that form has. Raises ConfigError."""
    return math.prod(_sides(topology))


def chips_per_host(topology: str, version: str) -> int:
    """Return how many chips each host of a slice has."""
    chips = chips_of(topology)
    if GENERATIONS[version].large_hosts and chips <= 8:
        return chips
    return min(CHIPS_PER_HOST, chips)


def check_topology(topology: str, version: str) -> None:
    """Raise ConfigError for a form that slices of this generation do not have."""
    if not GENERATIONS[version].has(topology):
        raise ConfigError(f"{version} has no slices of topology {describe(topology)}")


def pod_type(topology: str, version: str) -> str:
    """Return the name that says generation and cores: "v4-16" for v4 and "2x2x2"."""
    return f"{version}-{chips_of(topology) * GENERATIONS[version].cores_per_chip}"


def per_chip(given: int | None) -> int:
    """Return how many units of the resource TPU a chip is. Raises ConfigError unless that is at least one."""
    import os

    number = given
    if number is None:
        text = os.environ.get(PER_CHIP_VARIABLE, "1")
        number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise ConfigError(f"tpu_resource_per_chip (or {PER_CHIP_VARIABLE}) must be a whole number ≥ 1")
    return number


def get_tpu_worker_resources(
    topology: str,
    accelerator_type: str,
    resources_per_worker: Mapping[str, float] | None = None,
    num_slices: int = 1,
    chips_per_vm: int | None = None,
    tpu_resource_per_chip: int | None = None,
) -> tuple[int, dict[str, float]]:
    """Return how many workers fill that many slices, and what each takes.

    Without `resources_per_worker` a worker is a host: its chips and one CPU. Raises ConfigError if what a worker takes
    does not divide a slice.
    """
    unit = per_chip(tpu_resource_per_chip)
    version = get_tpu_version_from_type(accelerator_type)
    host = chips_per_host(topology, version) if chips_per_vm is None else chips_per_vm
    if host <= 0:
        raise ConfigError(f"chips_per_vm must be ≥ 1, not {host}")
    resources = {"CPU": 1.0, "TPU": float(host * unit), **(resources_per_worker or {})}
    whole, each = chips_of(topology) * unit, resources["TPU"]
    if each <= 0 or whole % each:
        raise ConfigError(
            f"each worker takes {each:g} of TPU, which must be more than 0 and divide what a slice has: {whole}"
        )
    return int(whole // each) * num_slices, resources


def get_tpu_num_slices_for_workers(
    topology: str,
    accelerator_type: str,
    num_workers: int,
    resources_per_worker: Mapping[str, float] | None = None,
    tpu_resource_per_chip: int | None = None,
) -> int:
    """Return how many slices that many workers need; 1 for what cannot be worked out."""
    try:
        each, _ = get_tpu_worker_resources(
            topology,
            accelerator_type,
            resources_per_worker,
            tpu_resource_per_chip=tpu_resource_per_chip,
        )
    except ConfigError:
        return 1
    return max(1, math.ceil(num_workers / each))


def get_tpu_coordinator_env_vars(
    coordinator_address: str, num_slices: int, slice_id: int, coordinator_port: str = "8081"
) -> dict[str, str]:
    """Return the variables by which programs on several slices find each other."""
    return {
        "MEGASCALE_COORDINATOR_ADDRESS": coordinator_address,
        "MEGASCALE_PORT": str(coordinator_port),
        "MEGASCALE_NUM_SLICES": str(num_slices),
        "MEGASCALE_SLICE_ID": str(slice_id),
    }


def _sides(topology: str) -> list[int]:
    parts = str(topology).strip().lower().split("x")
    if len(parts) not in (2, 3) or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"a topology is written like 4x4 or 2x2x2, not {describe(topology)}")
    return [int(part) for part in parts]
