"""The contract of routers, for whoever writes one.

class TestMine(RouterContract):
    @pytest.fixture
    def router(self):
        return MyRouter()
"""

from __future__ import annotations

import pickle
import random

import cloudpickle
import pytest

from shoal.serve.routers.base import Asked, Candidate, Router


def candidates(count: int, most: int = 4) -> list[Candidate]:
    """Return idle replicas, half of them on the caller's node.

    Example: `router.choose(candidates(3), Asked("__call__"))`
    """
    return [
        Candidate(
            replica_id=f"r{number}", node_id=f"n{number % 2}", max_ongoing=most, is_local=number % 2 == 0
        )
        for number in range(count)
    ]


class RouterContract:
    """What every router must do."""

    @pytest.fixture
    def router(self) -> Router:
        """Return a new router."""
        raise NotImplementedError("return a new router")

    def test_its_class_can_be_sent(self, router: Router) -> None:
        assert pickle.loads(cloudpickle.dumps(type(router))).__name__ == type(router).__name__
        assert router.name

    def test_it_chooses_one_that_has_room(self, router: Router) -> None:
        rng = random.Random(7)
        there = candidates(5)
        router.update(there)
        for number in range(2000):
            chosen = router.choose(there, Asked("__call__", (f"prompt {number % 50}",)))
            if chosen is None:
                assert not any(each.has_room for each in there), "somebody had room"
            else:
                assert chosen in there
                assert chosen.has_room
                chosen.ongoing += 1
            busy = [each for each in there if each.ongoing]
            if busy and (chosen is None or rng.random() < 0.5):
                rng.choice(busy).ongoing -= 1

    def test_with_no_room_anywhere_it_says_so(self, router: Router) -> None:
        there = candidates(3, most=1)
        router.update(there)
        for each in there:
            each.ongoing = 1
        assert router.choose(there, Asked("__call__", ("text",))) is None

    def test_one_replica_is_enough_and_others_may_come_and_go(self, router: Router) -> None:
        for count in (1, 4, 2, 1):
            there = candidates(count)
            router.update(there)
            assert router.choose(there, Asked("__call__", ("text",))) in there

    def test_all_replicas_get_work_when_there_is_much(self, router: Router) -> None:
        there = candidates(4, most=10)
        router.update(there)
        for number in range(40):
            chosen = router.choose(there, Asked("__call__", (f"{number} is another prompt",)))
            assert chosen is not None
            chosen.ongoing += 1
        assert all(each.ongoing == 10 for each in there)

    def test_arguments_of_any_kind_are_looked_at_with_care(self, router: Router) -> None:
        there = candidates(2)
        router.update(there)
        for args in ((), (None,), (object(),), (b"\xff\xfe",), ({"prompt": 3},), ({"messages": []},)):
            assert router.choose(there, Asked("__call__", args, {})) in there
