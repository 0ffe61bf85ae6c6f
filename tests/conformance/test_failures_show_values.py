"""A broken promise is reported with the values, as an assertion in a test module is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shoal.accelerators.cpu import CpuAccelerator
from shoal.interfaces.accelerator import Device
from shoal.testing.accelerators import AcceleratorContract


class Miscounting(CpuAccelerator):
    def quantity(self, devices: Sequence[Device]) -> float:
        return 3


def test_a_contract_s_failure_shows_the_values() -> None:
    with pytest.raises(AssertionError, match=r"assert 3 == 0\n .*where 3 = .*quantity.*\(\[\]\)"):
        AcceleratorContract().test_the_quantity_is_a_resource(Miscounting())
