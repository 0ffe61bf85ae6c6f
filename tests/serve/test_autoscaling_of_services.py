"""Autoscaling: the decisions in simulated time, and replicas that come and go for real."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from asking_services import until
from hypothesis import given
from hypothesis import strategies as st

from shoal import serve
from shoal.errors import ConfigError
from shoal.serve.config import AutoscalingConfig, AutoscalingContext
from shoal.serve.control.autoscaling import Autoscaler


def run(config: AutoscalingConfig, loads: list[float], target: int = 1, queued: float = 0) -> list[int]:
    """Return the number of replicas after each second with that many requests."""
    scaler = Autoscaler("a", "D")
    found = []
    for now, load in enumerate(loads):
        target = scaler.look(
            config,
            float(now),
            target=target,
            running=target,
            ongoing=load,
            queued=queued if target == 0 else 0,
        )
        found.append(target)
    return found


FAST = AutoscalingConfig(
    min_replicas=1,
    max_replicas=10,
    target_ongoing_requests=2,
    look_back_period_s=0.5,
    upscale_delay_s=0,
    downscale_delay_s=0,
)


def changed(**changes: Any) -> AutoscalingConfig:
    import attrs

    return attrs.evolve(FAST, **changes)


def test_replicas_follow_the_load_within_bounds() -> None:
    assert run(FAST, [4, 9, 100, 3, 0, 0]) == [2, 5, 10, 2, 1, 1]


def test_delays_pass_over_what_is_short() -> None:
    config = changed(upscale_delay_s=2, downscale_delay_s=3)
    assert run(config, [8, 8, 8, 8]) == [1, 1, 4, 4]
    assert run(config, [8, 2, 8, 8, 8], target=1) == [1, 1, 1, 1, 4]
    assert run(config, [0, 0, 0, 0], target=4) == [4, 4, 4, 1]


def test_factors_go_part_of_the_way() -> None:
    assert run(changed(upscaling_factor=0.5), [18], target=1) == [5]
    assert run(changed(downscaling_factor=0.5), [2, 2, 2, 2, 2], target=9) == [5, 3, 2, 1, 1]


def test_to_zero_takes_its_own_patience_and_back_takes_none() -> None:
    config = changed(min_replicas=0, downscale_to_zero_delay_s=3)
    assert run(config, [0, 0, 0, 0, 0, 0], target=2) == [1, 1, 1, 1, 0, 0]
    assert run(changed(min_replicas=0, upscale_delay_s=60), [0], target=0, queued=1) == [1]


def test_what_is_counted_is_aggregated() -> None:
    assert run(changed(look_back_period_s=10), [0, 8, 1])[-1] == 2
    assert run(changed(look_back_period_s=10, aggregation_function="max"), [0, 8, 1])[-1] == 4
    assert run(changed(look_back_period_s=10, aggregation_function="min"), [8, 8, 2])[-1] == 1


def test_a_policy_of_ones_own_decides_and_keeps_its_state() -> None:
    def policy(context: AutoscalingContext) -> Any:
        count = context.policy_state.get("count", 0) + 1
        return count + 1, {"count": count}

    assert run(changed(policy=policy), [0, 0, 0]) == [2, 3, 4]
    with pytest.raises(TypeError, match="no number of replicas"):
        run(changed(policy=lambda context: "many"), [0])


@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=60),
    st.integers(0, 3),
    st.integers(3, 20),
    st.floats(0.1, 2),
    st.floats(0, 5),
)
def test_it_never_leaves_its_bounds_and_comes_to_rest(
    loads: list[int], least: int, most: int, factor: float, delay: float
) -> None:
    config = changed(
        min_replicas=least,
        max_replicas=most,
        smoothing_factor=factor,
        upscale_delay_s=delay,
        downscale_delay_s=delay,
    )
    found = run(config, [*loads, *[0] * 300], target=max(least, 1))
    assert all(least <= each <= most for each in found)
    assert found[-1] == least


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="is more than max_replicas"):
        AutoscalingConfig(min_replicas=5, max_replicas=2)
    with pytest.raises(ConfigError, match="initial_replicas"):
        AutoscalingConfig(initial_replicas=0)
    with pytest.raises(ConfigError, match="has no target"):
        serve.deployment(autoscaling_config={"target": 1})(run)


@pytest.mark.processes
def test_replicas_come_from_zero_with_the_first_request_and_go_again(client: httpx.Client) -> None:
    @serve.deployment(
        max_ongoing_requests=2,
        ray_actor_options={"num_cpus": 0},
        autoscaling_config={
            "min_replicas": 0,
            "max_replicas": 3,
            "target_ongoing_requests": 1,
            "upscale_delay_s": 0.2,
            "downscale_delay_s": 0.5,
            "metrics_interval_s": 0.1,
            "look_back_period_s": 0.3,
        },
    )
    class Elastic:
        async def __call__(self, request: Any) -> str:
            import asyncio

            await asyncio.sleep(float(request.query_params.get("seconds", 0)))
            return "here"

    def running() -> int:
        states = serve.status().applications["default"].deployments["Elastic"].replica_states
        return int(states.get("RUNNING", 0))

    serve.run(Elastic.bind())
    assert running() == 0
    began = time.monotonic()
    assert client.get("/").text == "here"
    assert time.monotonic() - began < 20
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(client.get, "/", params={"seconds": 3}) for _ in range(6)]
        until(lambda: running() == 3)
        assert {each.result().text for each in asked} == {"here"}
    until(lambda: running() == 0, 40)
    assert client.get("/").text == "here"
