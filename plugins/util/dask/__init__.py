"""Dask on Shoal: `collection.compute(scheduler=shoal_dask_get)`, or `enable_dask()` for all of a program."""

from __future__ import annotations

from shoal.util.dask.callbacks import (
    ProgressBarCallback,
    RayDaskCallback,
    local_ray_callbacks,
    unpack_ray_callbacks,
)
from shoal.util.dask.optimizations import dataframe_optimize
from shoal.util.dask.scheduler import (
    disable_dask,
    enable_dask,
    shoal_dask_get,
    shoal_dask_get_sync,
    shoal_dask_persist,
)

__all__ = [
    "ProgressBarCallback",
    "RayDaskCallback",
    "dataframe_optimize",
    "disable_dask",
    "enable_dask",
    "local_ray_callbacks",
    "shoal_dask_get",
    "shoal_dask_get_sync",
    "shoal_dask_persist",
    "unpack_ray_callbacks",
]
