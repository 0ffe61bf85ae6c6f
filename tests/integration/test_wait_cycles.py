"""A cycle of waits over several actors is found and named."""

from __future__ import annotations

from typing import Any

import pytest

import shoal
from shoal import errors

pytestmark = pytest.mark.processes


@shoal.remote
class Partner:
    def __init__(self) -> None:
        self.other: Any = None

    def meet(self, other: Any) -> None:
        self.other = other

    def pass_on(self, times: int) -> int:
        return int(shoal.get(self.other.pass_on.remote(times - 1))) if times else 0


def test_two_actors_that_wait_for_each_other_are_a_cycle(session: Any) -> None:
    first, second = Partner.remote(), Partner.remote()
    shoal.get([first.meet.remote(second), second.meet.remote(first)])
    assert shoal.get(first.pass_on.remote(1)) == 0
    stuck = first.pass_on.remote(2)
    with pytest.raises(errors.GetTimeout, match="cycle of waits over 2 processes"):
        shoal.get(stuck, timeout=1.5)
    assert "cycle of waits" in str(shoal.explain(stuck))
    shoal.kill(second)
    with pytest.raises(errors.ActorDied):
        shoal.get(stuck, timeout=30)


def test_an_actor_that_waits_for_itself_is_a_cycle(session: Any) -> None:
    alone = Partner.remote()
    shoal.get(alone.meet.remote(alone))
    stuck = alone.pass_on.remote(1)
    with pytest.raises(errors.GetTimeout, match="cycle"):
        shoal.get(stuck, timeout=1.5)
    shoal.kill(alone)
