"""What importing loads. The list of modules is checked, not the time: time belongs to the benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys

from layers import unit_of

HEAVY = {
    "asyncio",
    "click",
    "grpc",
    "hypothesis",
    "numpy",
    "pandas",
    "pyarrow",
    "pytest",
    "stevedore",
    "torch",
}
WORKER = "shoal.native.worker"


def loaded_by(name: str) -> set[str]:
    """Names of all modules in a fresh interpreter that has imported `name`."""
    code = f"import {name}, json, sys; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-I", "-c", code]
    return set(json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout))


def test_import_shoal_loads_nothing_heavy() -> None:
    assert HEAVY & {name.partition(".")[0] for name in loaded_by("shoal")} == set()


def test_import_shoal_loads_no_driver_engine_or_command() -> None:
    allowed = {"shoal.native", "shoal.inline", "shoal.cli", "shoal.testing"}
    loaded = {unit_of(name) for name in loaded_by("shoal") if name.startswith("shoal.")}
    drivers = {
        "shoal.schedulers",
        "shoal.stores",
        "shoal.accelerators",
        "shoal.metadata",
        "shoal.environments",
    }
    assert loaded & (drivers | allowed) == set()


def test_config_is_cheap_for_workers() -> None:
    loaded = loaded_by("shoal.config")
    assert loaded & {"tomllib", "tomli", "difflib", "importlib.metadata", "stevedore"} == set()


def test_a_worker_loads_no_driver_discovery_and_nothing_heavy() -> None:
    loaded = loaded_by(WORKER)
    assert (HEAVY - {"asyncio"}) & {name.partition(".")[0] for name in loaded} == set()
    assert {"shoal.cli", "shoal.testing"} & {unit_of(name) for name in loaded} == set()
