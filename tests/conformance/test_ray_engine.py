"""The contract of Engine over the engine `ray`: the reference system itself is the oracle of our conformance suite."""

from __future__ import annotations

import importlib.util

import pytest

from shoal.testing.engines import EngineContract, EngineSessionContract

pytestmark = [
    pytest.mark.slow,
    pytest.mark.processes,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `ray`)"),
]


class TestRay(EngineContract):
    @pytest.fixture
    def engine_name(self) -> str:
        return "ray"


class TestRaySessions(EngineSessionContract):
    @pytest.fixture
    def engine_name(self) -> str:
        return "ray"
