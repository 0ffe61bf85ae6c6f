"""Running a function on every host of slices."""

from __future__ import annotations

import time
import warnings
from typing import Any

from shoal import ObjectRef, PlacementGroup
from shoal.errors import ConfigError, describe
from shoal.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from shoal.util.tpu.slices import HEAD_SECONDS, SlicePlacementGroup


def run_on_slice(
    fn: Any,
    *args: Any,
    topology: str | None = None,
    accelerator_version: str | None = None,
    tpu_slice: SlicePlacementGroup | None = None,
    slice_index: int | None = None,
    num_slices: int = 1,
    chips_per_vm: int | None = None,
    head_reservation_timeout_s: float | None = HEAD_SECONDS,
    pg_ready_timeout_s: float | None = None,
    **kwargs: Any,
) -> list[ObjectRef[Any]]:
    """Call a remote function once in each bundle of slices, with the same arguments; return the references in order.

    Parameters: `tpu_slice` are slices that are reserved already, of which `slice_index` chooses one (with
    `pg_per_slice`); without it `num_slices` of that `topology` and `accelerator_version` are reserved, and stay so.
    It waits until they are, `pg_ready_timeout_s` seconds at most.
    Raises TypeError for what is no remote function, ConfigError for arguments that do not fit, TimeoutError.
    """
    if not hasattr(fn, "options"):
        raise TypeError(f"fn must be a remote function (@shoal.remote), not {describe(fn)}")
    if slice_index is not None and (tpu_slice is None or not tpu_slice.pg_per_slice):
        raise ConfigError("slice_index needs a tpu_slice that was made with pg_per_slice=True")
    own = tpu_slice is None
    if tpu_slice is None:
        if topology is None or accelerator_version is None:
            raise ConfigError("give a topology and an accelerator_version, or a tpu_slice")
        tpu_slice = SlicePlacementGroup(
            topology,
            accelerator_version,
            num_slices=num_slices,
            chips_per_vm=chips_per_vm,
            head_reservation_timeout_s=head_reservation_timeout_s,
        )
    groups = _groups(tpu_slice, slice_index)
    try:
        _wait(groups, pg_ready_timeout_s)
    except BaseException:
        if own:
            tpu_slice.shutdown()
        raise
    if own:
        tpu_slice.release_head_pgs()
    task = fn.options(num_cpus=0, resources={"TPU": tpu_slice.bundle_resources["TPU"]})
    return [
        task.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, index)).remote(
            *args, **kwargs
        )
        for group in groups
        for index in range(group.bundle_count)
    ]


def dispatch(*args: Any, **kwargs: Any) -> list[ObjectRef[Any]]:
    """Do what `run_on_slice` does, under its old name."""
    warnings.warn("dispatch() is called run_on_slice() now", DeprecationWarning, stacklevel=2)
    return run_on_slice(*args, **kwargs)


def _groups(tpu_slice: SlicePlacementGroup, slice_index: int | None) -> list[PlacementGroup]:
    if tpu_slice.pg_per_slice:
        groups = tpu_slice.slice_placement_groups
    else:
        groups = [group for group in [tpu_slice.slice_placement_group] if group is not None]
    if not groups:
        raise ConfigError("the tpu_slice has been shut down: make a new one")
    if slice_index is None:
        return groups
    if not 0 <= slice_index < len(groups):
        raise ConfigError(f"slice_index must be from 0 to {len(groups) - 1}, not {slice_index}")
    return [groups[slice_index]]


def _wait(groups: list[PlacementGroup], seconds: float | None) -> None:
    deadline = None if seconds is None else time.monotonic() + seconds
    for group in groups:
        if not group.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
            raise TimeoutError(f"the slice's hosts were not free within {seconds} seconds")
