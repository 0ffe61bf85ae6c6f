"""Helpers for programs that tune: checks of trainables, mappings, a machine's load, patience with GPUs."""

from __future__ import annotations

from shoal.tune.tools.checks import diagnose_serialization, validate_save_restore
from shoal.tune.tools.load import UtilMonitor, wait_for_gpu
from shoal.tune.tools.mappings import deep_update, flatten_dict, merge_dicts, unflattened_lookup
from shoal.tune.tools.running import date_str, warn_if_slow

__all__ = [
    "UtilMonitor",
    "date_str",
    "deep_update",
    "diagnose_serialization",
    "flatten_dict",
    "merge_dicts",
    "unflattened_lookup",
    "validate_save_restore",
    "wait_for_gpu",
    "warn_if_slow",
]
