"""The contracts over whichever plugins the command line names; see `shoal.testing.pytest_plugin`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shoal.testing.schedulers import SchedulerContract
from shoal.testing.stores import ObjectStoreContract


@pytest.mark.shoal_contract("scheduler")
class TestScheduler(SchedulerContract):
    """--scheduler=NAME"""

    @pytest.fixture
    def scheduler(self, shoal_plugin: Callable[[str], Any]) -> Any:
        """Return the named scheduler with its defaults."""
        return shoal_plugin("scheduler")()


@pytest.mark.shoal_contract("store")
class TestStore(ObjectStoreContract):
    """--store=NAME"""

    @pytest.fixture
    def store_class(self, shoal_plugin: Callable[[str], Any]) -> Any:
        """Return the named store."""
        return shoal_plugin("store")
