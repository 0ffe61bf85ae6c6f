"""The routers keep their contract; `prefix` keeps what begins alike together."""

from __future__ import annotations

import pytest

from shoal.errors import ConfigError, PluginNotFound
from shoal.serve.config import RequestRouterConfig
from shoal.serve.routers.base import Asked, Router
from shoal.serve.routers.loading import make_router
from shoal.serve.testing import RouterContract, candidates


class TestPowerOfTwo(RouterContract):
    @pytest.fixture
    def router(self) -> Router:
        return make_router(RequestRouterConfig(request_router_kwargs={"seed": 3}))

    def test_it_takes_the_less_busy_one(self, router: Router) -> None:
        there = candidates(2)
        there[0].is_local = there[1].is_local = True
        there[0].ongoing = 2
        assert {router.choose(there, Asked("f")) for _ in range(20)} == {there[1]}

    def test_its_own_node_comes_first(self, router: Router) -> None:
        there = candidates(4)
        assert all(router.choose(there, Asked("f")).is_local for _ in range(50))  # type: ignore[union-attr]

    def test_a_model_is_asked_for_where_it_is(self, router: Router) -> None:
        there = candidates(4)
        there[3].models = ("m",)
        assert all(router.choose(there, Asked("f", (), None, "m")) is there[3] for _ in range(20))


class TestPrefix(RouterContract):
    @pytest.fixture
    def router(self) -> Router:
        return make_router(
            RequestRouterConfig(
                request_router_class="prefix", request_router_kwargs={"block": 4, "imbalance": 3}
            )
        )

    def test_what_begins_alike_goes_to_the_same_one(self, router: Router) -> None:
        there = candidates(4, most=100)
        first = router.choose(there, Asked("f", ({"prompt": "you are a helpful shoal. hello"},)))
        for text in ("you are a helpful shoal. bye", "you are a helpful shoal"):
            assert router.choose(there, Asked("f", ({"prompt": text},))) is first
        assert first is not None
        first.ongoing = 5
        assert router.choose(there, Asked("f", ({"prompt": "you are a helpful shoal"},))) is not first


class TestRoundRobin(RouterContract):
    @pytest.fixture
    def router(self) -> Router:
        return make_router(RequestRouterConfig(request_router_class="round_robin"))

    def test_one_after_the_other(self, router: Router) -> None:
        there = candidates(3)
        chosen = [router.choose(there, Asked("f")) for _ in range(6)]
        assert chosen == [*there, *there]


class TestConsistentHash(RouterContract):
    @pytest.fixture
    def router(self) -> Router:
        return make_router(RequestRouterConfig(request_router_class="consistent_hash"))

    def test_only_the_sessions_of_a_lost_replica_move(self, router: Router) -> None:
        there = candidates(5, most=1000)
        sessions = [Asked("f", session_id=f"s{number}") for number in range(200)]
        before = [router.choose(there, each) for each in sessions]
        assert len({id(each) for each in before}) == 5
        lost = there.pop(2)
        router.update(there)
        after = [router.choose(there, each) for each in sessions]
        assert all(one is other for one, other in zip(before, after, strict=True) if one is not lost)


def test_a_router_that_is_not_there_or_is_none_is_refused() -> None:
    with pytest.raises(PluginNotFound, match="power_of_two"):
        make_router(RequestRouterConfig(request_router_class="power_of_too"))
    with pytest.raises(ConfigError, match="must be a Router"):
        make_router(RequestRouterConfig(request_router_class=int))
    with pytest.raises(ConfigError, match="request_router_kwargs"):
        make_router(RequestRouterConfig(request_router_kwargs={"colour": 1}))
