"""The contract of Scheduler over each of our own policies."""

from __future__ import annotations

import pytest

from shoal.interfaces.scheduler import Scheduler
from shoal.schedulers.binpack import BinpackScheduler
from shoal.schedulers.hybrid import HybridScheduler
from shoal.schedulers.locality import LocalityScheduler
from shoal.schedulers.spread import SpreadScheduler
from shoal.testing.schedulers import SchedulerContract


class TestHybrid(SchedulerContract):
    @pytest.fixture
    def scheduler(self) -> Scheduler:
        return HybridScheduler()


class TestLocality(SchedulerContract):
    @pytest.fixture
    def scheduler(self) -> Scheduler:
        return LocalityScheduler()


class TestBinpack(SchedulerContract):
    @pytest.fixture
    def scheduler(self) -> Scheduler:
        return BinpackScheduler()


class TestSpread(SchedulerContract):
    @pytest.fixture
    def scheduler(self) -> Scheduler:
        return SpreadScheduler()
