"""Looking before sleeping: kept only while looking finds something."""

from __future__ import annotations

from shoal.native.transport.spin import LONGEST_SPIN_SECONDS, Spin

SUCCESS = LONGEST_SPIN_SECONDS / 5
IN_VAIN = LONGEST_SPIN_SECONDS * 2
ASLEEP = LONGEST_SPIN_SECONDS * 0.6


def share_of_looking(spin: Spin, looking: float, waits: int) -> float:
    """Return the part of waits that looked, where looking takes so many seconds."""
    looked = 0
    for _ in range(waits):
        looked += spin.spinning
        spin.waited(looking if spin.spinning else ASLEEP)
    return looked / waits


def test_looking_that_finds_something_is_kept() -> None:
    assert share_of_looking(Spin(), SUCCESS, 5_000) > 0.98


def test_looking_in_vain_becomes_rare() -> None:
    assert share_of_looking(Spin(), IN_VAIN, 20_000) < 0.03


def test_the_choice_follows_the_machine() -> None:
    spin = Spin()
    share_of_looking(spin, SUCCESS, 1_000)
    share_of_looking(spin, IN_VAIN, 2_000)
    assert share_of_looking(spin, IN_VAIN, 4_000) < 0.02
    share_of_looking(spin, SUCCESS, 10_000)
    assert share_of_looking(spin, SUCCESS, 1_000) == 1.0


def test_long_waits_are_slept_through() -> None:
    spin = Spin()
    share_of_looking(spin, SUCCESS, 100)
    assert spin.spinning
    spin.waited(0.5)
    assert not spin.spinning
    for _ in range(100):
        spin.waited(0.5)
        assert not spin.spinning
