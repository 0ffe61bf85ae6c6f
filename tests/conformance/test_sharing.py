"""The contract of Sharing over each of our own policies."""

from __future__ import annotations

import pytest

from shoal.interfaces.sharing import Sharing
from shoal.schedulers.sharing import ArrivalSharing, FairSharing
from shoal.testing.sharing import SharingContract


class TestFair(SharingContract):
    @pytest.fixture
    def sharing(self) -> Sharing:
        return FairSharing()


class TestArrival(SharingContract):
    @pytest.fixture
    def sharing(self) -> Sharing:
        return ArrivalSharing()
