"""The contracts over whichever plugins the command line names; see `shoal.testing.pytest_plugin`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shoal.interfaces.nodes import NodeType
from shoal.spec.resources import ResourceSet
from shoal.testing.accelerators import AcceleratorContract
from shoal.testing.engines import EngineContract, EngineSessionContract
from shoal.testing.environments import EnvironmentStepContract
from shoal.testing.metadata import MetadataContract
from shoal.testing.nodes import Make, NodeProviderContract
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


@pytest.mark.shoal_contract("nodes")
class TestNodeProvider(NodeProviderContract):
    """--nodes=NAME, and what it needs by --nodes-options."""

    @pytest.fixture
    def given(self, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
        """Return what --nodes-options says, where {folder} stands for a folder of the test's own."""
        text = request.config.getoption("shoal_nodes_options") or "{}"
        given: dict[str, Any] = json.loads(text.replace("{folder}", str(tmp_path)))
        return given

    @pytest.fixture
    def make(self, shoal_plugin: Callable[[str], Any], given: dict[str, Any]) -> Make:
        """Return a function that makes the named provider."""
        return lambda cluster, start: shoal_plugin("nodes")(cluster, start, given.get("options"))

    @pytest.fixture
    def node_type(self, given: dict[str, Any]) -> NodeType:
        """Return a type with the options that were given."""
        return NodeType(name="small", resources=ResourceSet.of(CPU=1), options=given.get("type", {}))


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
