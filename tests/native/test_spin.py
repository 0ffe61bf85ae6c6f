"""Looking before sleeping: kept only where it is faster."""

from __future__ import annotations

from shoal.native.transport.spin import Spin


def share_of_looking(asleep: float, looking: float, waits: int = 5_000) -> float:
    """Return the part of waits that looked, where each way takes the time given, in seconds."""
    spin = Spin()
    looked = 0
    for _ in range(waits):
        looked += spin.spinning
        spin.waited(looking if spin.spinning else asleep)
    return looked / waits


def test_looking_is_kept_where_it_is_faster() -> None:
    assert share_of_looking(asleep=60e-6, looking=20e-6) > 0.9


def test_sleeping_is_kept_where_looking_takes_the_core_from_whoever_answers() -> None:
    assert share_of_looking(asleep=60e-6, looking=160e-6) < 0.05


def test_a_gain_that_is_not_worth_a_core_is_left() -> None:
    assert share_of_looking(asleep=60e-6, looking=58e-6) < 0.05


def test_long_waits_are_slept_through() -> None:
    spin = Spin()
    for _ in range(100):
        spin.waited(20e-6 if spin.spinning else 60e-6)
    assert spin.spinning
    spin.waited(0.5)
    assert not spin.spinning
    for _ in range(100):
        spin.waited(0.5)
        assert not spin.spinning


def test_the_choice_is_made_anew_when_the_machine_changes() -> None:
    spin = Spin()
    for _ in range(500):
        spin.waited(20e-6 if spin.spinning else 60e-6)
    assert spin.spinning
    for _ in range(5_000):
        spin.waited(300e-6 if spin.spinning else 60e-6)
    assert share_after(spin) < 0.05


def share_after(spin: Spin) -> float:
    looked = 0
    for _ in range(2_000):
        looked += spin.spinning
        spin.waited(300e-6 if spin.spinning else 60e-6)
    return looked / 2_000
