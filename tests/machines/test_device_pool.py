"""DevicePool: whole devices whole, fractions packed, nothing lost and nothing given twice."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from shoal.machines.devices import DevicePool
from shoal.spec.resources import UNIT


class Devices(RuleBasedStateMachine):
    """The model is a list of what was taken: a device's free part is what no taking holds."""

    taken = Bundle("taken")

    @initialize(count=st.integers(0, 4))
    def start(self, count: int) -> None:
        self.ids = [str(number) for number in range(count)]
        self.pool = DevicePool(self.ids)
        self.held: list[Mapping[str, int]] = []

    def free(self) -> dict[str, int]:
        return {device: UNIT - sum(one.get(device, 0) for one in self.held) for device in self.ids}

    @rule(target=taken, units=st.one_of(st.integers(0, UNIT), st.integers(0, 5).map(lambda n: n * UNIT)))
    def take(self, units: int) -> Mapping[str, int]:
        before = self.free()
        got = self.pool.take(units)
        if got is None:
            if units < UNIT:
                assert all(free < units for free in before.values()), "a device that holds it was not used"
            else:
                assert sum(free == UNIT for free in before.values()) < units // UNIT
            return {}
        assert sum(got.values()) == units
        for device, part in got.items():
            assert 0 < part <= before[device], "more than the device had"
        if 0 < units < UNIT:
            [device] = got
            assert all(free < units or free >= before[device] for free in before.values()), "not the fullest"
        elif units:
            assert list(got) == [device for device in self.ids if before[device] == UNIT][: units // UNIT]
        self.held.append(got)
        return got

    @rule(some=consumes(taken))
    def give_back(self, some: Mapping[str, int]) -> None:
        if some:
            self.held.remove(some)
        self.pool.give_back(some)

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert self.pool.free_units() == self.free()


TestDevices = Devices.TestCase


def test_more_than_one_device_comes_in_whole_devices_only() -> None:
    pool = DevicePool(["0", "1"])
    assert pool.take(UNIT + UNIT // 2) is None
    assert pool.free_units() == {"0": UNIT, "1": UNIT}


def test_a_pool_of_parts_gives_out_its_parts() -> None:
    pool = DevicePool.of_parts({"3": UNIT // 2})
    assert pool.take(UNIT) is None
    assert pool.take(UNIT // 2) == {"3": UNIT // 2}
    assert pool.take(1) is None
