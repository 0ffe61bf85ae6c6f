"""The contract of Engine over each of our own engines."""

from __future__ import annotations

import importlib.util

import pytest

from shoal.testing.engines import EngineContract, EngineSessionContract

NATIVE = pytest.mark.skipif(
    importlib.util.find_spec("shoal.native.engine") is None, reason="the native engine is not in this build"
)


class TestInline(EngineContract):
    @pytest.fixture
    def engine_name(self) -> str:
        return "inline"


class TestInlineSessions(EngineSessionContract):
    @pytest.fixture
    def engine_name(self) -> str:
        return "inline"


class TestSim(EngineContract):
    @pytest.fixture
    def engine_name(self) -> str:
        return "sim"


class TestSimSessions(EngineSessionContract):
    @pytest.fixture
    def engine_name(self) -> str:
        return "sim"


@NATIVE
@pytest.mark.processes
class TestNative(EngineContract):
    @pytest.fixture
    def engine_name(self) -> str:
        return "native"


@NATIVE
@pytest.mark.processes
class TestNativeSessions(EngineSessionContract):
    @pytest.fixture
    def engine_name(self) -> str:
        return "native"
