"""The contracts over whichever plugins the command line names; see `shoal.testing.pytest_plugin`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shoal.testing.accelerators import AcceleratorContract
from shoal.testing.engines import EngineContract, EngineSessionContract
from shoal.testing.environments import EnvironmentStepContract
from shoal.testing.metadata import MetadataContract
from shoal.testing.schedulers import SchedulerContract
from shoal.testing.sharing import SharingContract
from shoal.testing.stores import ObjectStoreContract


@pytest.mark.shoal_contract("accelerator")
class TestAccelerator(AcceleratorContract):
    """--accelerator=NAME"""

    @pytest.fixture
    def accelerator(self, shoal_plugin: Callable[[str], Any]) -> Any:
        """Return the named accelerator."""
        return shoal_plugin("accelerator")()


@pytest.mark.shoal_contract("engine")
class TestEngine(EngineContract):
    """--engine=NAME"""

    @pytest.fixture
    def engine_name(self, shoal_plugin: Callable[[str], Any]) -> str:
        """Return the name, once it is known that it names an engine."""
        return str(shoal_plugin("engine").name)


@pytest.mark.shoal_contract("engine")
class TestEngineSessions(EngineSessionContract):
    """--engine=NAME"""

    @pytest.fixture
    def engine_name(self, shoal_plugin: Callable[[str], Any]) -> str:
        """Return the name, once it is known that it names an engine."""
        return str(shoal_plugin("engine").name)


@pytest.mark.shoal_contract("environment")
class TestEnvironmentStep(EnvironmentStepContract):
    """--environment=NAME. Tests that need a value which the step accepts are for its own package to run."""

    @pytest.fixture
    def step(self, shoal_plugin: Callable[[str], Any]) -> Any:
        """Return the named step."""
        return shoal_plugin("environment")()


@pytest.mark.shoal_contract("metadata")
class TestMetadata(MetadataContract):
    """--metadata=NAME"""

    @pytest.fixture
    def metadata_class(self, shoal_plugin: Callable[[str], Any]) -> Any:
        """Return the named metadata store; `new_location` says where it is."""
        return shoal_plugin("metadata")

    @pytest.fixture
    def new_location(self, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
        """Return a function that gives a location that nobody has used before."""
        form = request.config.getoption("shoal_metadata_location") or str(tmp_path / "store-{}")
        return lambda: form.replace("{}", secrets.token_hex(8))


@pytest.mark.shoal_contract("scheduler")
class TestScheduler(SchedulerContract):
    """--scheduler=NAME"""

    @pytest.fixture
    def scheduler(self, shoal_plugin: Callable[[str], Any]) -> Any:
        """Return the named scheduler with its defaults."""
        return shoal_plugin("scheduler")()


@pytest.mark.shoal_contract("sharing")
class TestSharing(SharingContract):
    """--sharing=NAME"""

    @pytest.fixture
    def sharing(self, shoal_plugin: Callable[[str], Any]) -> Any:
        """Return the named policy."""
        return shoal_plugin("sharing")()


@pytest.mark.shoal_contract("store")
class TestStore(ObjectStoreContract):
    """--store=NAME"""

    @pytest.fixture
    def store_class(self, shoal_plugin: Callable[[str], Any]) -> Any:
        """Return the named store."""
        return shoal_plugin("store")
