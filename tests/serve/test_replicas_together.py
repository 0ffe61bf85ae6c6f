"""Gangs, ranks, actors of a deployment, logs, spans, numbers from outside: on real processes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking_services import until

import shoal
from shoal import serve
from shoal.errors import ConfigError
from shoal.serve.config import (
    AutoscalingConfig,
    AutoscalingContext,
    AutoscalingPolicy,
    DeploymentActorConfig,
    GangSchedulingConfig,
    RequestRouterConfig,
)
from shoal.serve.control.placing import ranks_of
from shoal.serve.deployment import DeploymentOptions
from shoal.serve.exceptions import ServeError
from shoal.serve.gang import GangContext
from shoal.serve.logs import LoggingConfig
from shoal.serve.routers.base import Asked, Candidate, Router

pytest.importorskip("uvicorn")
processes = pytest.mark.processes


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.5})
class Where:
    def seat(self) -> Any:
        return serve.get_replica_context().gang_context

    def rank(self) -> Any:
        return serve.get_replica_context().rank

    def end(self) -> None:
        import os

        os._exit(1)


def seats(handle: Any) -> dict[str, Any]:
    """Return the seat of each replica that answers."""
    found = handle.broadcast("seat").results(timeout_s=30, return_exceptions=True)
    return {name: seat for name, seat in found.items() if isinstance(seat, GangContext)}


@processes
def test_a_gang_starts_together_and_is_replaced_together(client: httpx.Client) -> None:
    gang = GangSchedulingConfig(gang_size=2)
    handle = serve.run(Where.options(num_replicas=4, gang_scheduling_config=gang).bind(), route_prefix=None)
    first = seats(handle)
    gangs = {seat.gang_id for seat in first.values()}
    assert len(first) == 4
    assert len(gangs) == 2
    for each in gangs:
        members = {seat.rank: name for name, seat in first.items() if seat.gang_id == each}
        assert sorted(members) == [0, 1]
        listed = next(seat for seat in first.values() if seat.gang_id == each).member_replica_ids
        assert list(listed) == [members[0], members[1]]
    handle.end.remote()
    until(lambda: len(seats(handle)) == 4 and set(seats(handle)) != set(first))
    after = seats(handle)
    assert len(after) == 4
    assert len(set(after) & set(first)) == 2
    [kept] = {seat.gang_id for seat in after.values()} & gangs
    assert {name for name, seat in after.items() if seat.gang_id == kept} == set(after) & set(first)


def _running(deployment: str) -> list[str]:
    from shoal.serve.api import controller_or_none

    told = shoal.get(controller_or_none().details.remote(), timeout=30)["applications"]["default"]
    one = told["deployments"][deployment]
    if one["status"] != "HEALTHY":
        return []
    return [each["replica_id"] for each in one["replicas"]]


@processes
def test_ranks_have_no_gaps_also_after_a_death(client: httpx.Client) -> None:
    handle = serve.run(Where.options(num_replicas=3).bind(), route_prefix=None)

    def ranks() -> list[int]:
        found = handle.broadcast("rank").results(timeout_s=30, return_exceptions=True).values()
        return sorted(getattr(each, "rank", -1) for each in found)

    until(lambda: ranks() == [0, 1, 2])
    before = set(_running("Where"))
    handle.end.remote()
    until(lambda: len(_running("Where")) == 3 and set(_running("Where")) != before)
    until(lambda: ranks() == [0, 1, 2])


def test_a_rank_that_is_still_there_stays() -> None:
    ranks = ranks_of(["a", "b", "c"], {"a": "n", "b": "m", "c": "n"}, {"a": 1, "b": 5, "c": 1})
    assert sorted(each.rank for each in ranks.values()) == [0, 1, 2]
    assert 1 in (ranks["a"].rank, ranks["c"].rank)
    assert ranks["b"].local_rank == 0
    assert {ranks["a"].local_rank, ranks["c"].local_rank} == {0, 1}


class Counter:
    def __init__(self, first: int) -> None:
        self.value = first

    def add(self) -> int:
        self.value += 1
        return self.value

    def owner(self) -> Any:
        return serve.get_deployment_actor_context()


@serve.deployment(
    num_replicas=2, deployment_actors=[DeploymentActorConfig(name="n", actor_class=Counter, init_args=[10])]
)
class Counting:
    async def count(self) -> int:
        return int(await serve.get_deployment_actor("n").add.remote())

    async def owner(self) -> Any:
        return await serve.get_deployment_actor("n").owner.remote()

    async def other(self) -> Any:
        serve.get_deployment_actor("m")


@processes
def test_replicas_share_an_actor_that_ends_with_them(client: httpx.Client) -> None:
    handle = serve.run(Counting.bind(), route_prefix=None)
    found = handle.broadcast("count").results(timeout_s=30)
    assert sorted(found.values()) == [11, 12]
    owner = handle.owner.remote().result(timeout_s=30)
    assert (owner.app_name, owner.deployment, owner.actor_name) == ("default", "Counting", "n")
    with pytest.raises(ServeError, match="has no actor 'm'"):
        handle.other.remote().result(timeout_s=30)
    name = f"SERVE_ACTOR#default#Counting#{owner.code_version}#n"
    assert shoal.get_actor(name, "serve") is not None
    serve.delete("default")

    def gone() -> bool:
        try:
            shoal.get_actor(name, "serve")
        except ValueError:
            return True
        return False

    until(gone)


@serve.deployment
class Talking:
    def __call__(self, request: Any) -> str:
        logging.getLogger("shoal.serve").info("said %s", "something")
        return "yes"


@processes
def test_logs_of_replicas_are_json_with_the_request(client: httpx.Client, tmp_path: Path) -> None:
    config = LoggingConfig(encoding="JSON", logs_dir=str(tmp_path), additional_log_standard_attrs=["lineno"])
    serve.run(Talking.bind(), route_prefix="/talk", logging_config=config)
    assert client.get("/talk", headers={"x-request-id": "r1"}).text == "yes"

    def lines() -> list[Any]:
        return [
            json.loads(line) for each in tmp_path.glob("replica_*") for line in each.read_text().splitlines()
        ]

    until(lambda: len(lines()) >= 2)
    said = next(line for line in lines() if line["message"] == "said something")
    assert said["request_id"] == "r1"
    assert said["deployment"] == "Talking"
    assert said["route"] == "/talk"
    assert type(said["lineno"]) is int
    assert any(line["name"] == "shoal.serve.access" and "OK" in line["message"] for line in lines())


@processes
def test_numbers_of_replicas_come_from_outside_only_where_that_was_said(client: httpx.Client) -> None:
    serve.run(Where.bind(), route_prefix=None)
    with pytest.raises(ServeError, match="external_scaler_enabled"):
        serve.scale("Where", 3)
    serve.run(Where.bind(), route_prefix=None, external_scaler_enabled=True)
    serve.scale("Where", 3)
    until(lambda: len(_running("Where")) == 3)
    serve.run(Where.options(user_config=None).bind(), route_prefix=None, external_scaler_enabled=True)
    assert len(_running("Where")) == 3, "an update leaves the number to who scales"
    scaled = Where.options(num_replicas="auto")
    with pytest.raises(ConfigError, match="leave one of them out"):
        serve.run(scaled.bind(), external_scaler_enabled=True)


class Warmest(Router):
    """Sends everything to the replica that says it is the warmest."""

    def choose(self, candidates: Sequence[Candidate], asked: Asked) -> Candidate | None:
        warm = [each for each in candidates if each.stats]
        return max(warm, key=lambda each: float(each.stats["warmth"])) if warm else None


@serve.deployment(num_replicas=2)
class Warm:
    def record_routing_stats(self) -> dict[str, float]:
        return {"warmth": serve.get_replica_context().rank.rank}

    def record_autoscaling_stats(self) -> dict[str, float]:
        return {"wish": 3.0}

    def rank(self) -> int:
        return serve.get_replica_context().rank.rank


def as_wished(context: AutoscalingContext) -> int:
    """A policy: as many replicas as they themselves wish."""
    wishes = context.aggregated_metrics.get("wish", {}).values()
    return int(max(wishes, default=context.target_num_replicas))


@processes
def test_routers_see_what_replicas_say_for_them(client: httpx.Client) -> None:
    config = RequestRouterConfig(request_router_class=Warmest, request_routing_stats_period_s=0.1)
    handle = serve.run(Warm.options(request_router_config=config).bind(), route_prefix=None)
    until(lambda: sum(bool(each.stats) for each in handle._known_dispatcher().replicas) == 2)
    assert {handle.rank.remote().result(timeout_s=30) for _ in range(10)} == {1}


@processes
def test_policies_see_what_replicas_say_for_them(client: httpx.Client) -> None:
    config = AutoscalingConfig(policy=as_wished, max_replicas=5, upscale_delay_s=0, metrics_interval_s=0.1)
    serve.run(Warm.options(num_replicas="auto", autoscaling_config=config).bind(), route_prefix=None)
    until(lambda: len(_running("Warm")) == 3)


def double(context: Any, times: int = 2) -> int:
    """A policy: so many times what there is."""
    return int(context.target_num_replicas * times)


def test_policies_are_functions_with_arguments_classes_or_paths() -> None:
    class Context:
        target_num_replicas = 3

    policy = AutoscalingPolicy(policy_function=double, policy_kwargs={"times": 3})
    assert policy.get_policy()(Context()) == 9
    policy.serialize_policy()
    data = policy.get_serialized_policy_def()
    assert data is not None
    again = AutoscalingPolicy.from_serialized_policy_def({"policy_kwargs": {"times": 4}}, data)
    assert again.get_policy()(Context()) == 12
    assert AutoscalingPolicy().is_default_policy_function()
    config = AutoscalingConfig(policy={"policy_function": double})  # type: ignore[arg-type]
    chosen = config.get_policy()
    assert chosen is not None
    assert chosen(Context()) == 6
    with pytest.raises(ConfigError, match="cannot be imported"):
        AutoscalingPolicy(policy_function="nowhere.at.all:f").get_policy()


def test_a_new_version_comes_up_no_faster_than_its_percentages_say() -> None:
    from test_serve_machine import World

    from shoal.serve.control.events import Deploy, Tick
    from shoal.serve.messages import ApplicationSpec, DeploymentSpec

    def app(version: str) -> ApplicationSpec:
        options = DeploymentOptions(
            name="D", num_replicas=4, max_surge_percent=0, rolling_update_percentage=50
        )
        spec = DeploymentSpec(options=options, code=b"", version=version)
        return ApplicationSpec(name="a", route_prefix="/a", ingress="D", deployments={"D": spec})

    world = World()
    world.do(Deploy((app("1"),)))
    world.settle()
    assert set(world.running.values()) == {"1"}
    world.do(Deploy((app("2"),)))
    assert len(world.stopping) == 2, "half of the old ones make room"
    assert not world.starting, "and nothing is made beside them"
    world.do(Tick(), 1.0)
    assert len(world.stopping) == 2
    world.settle()
    assert list(world.running.values()) == ["2"] * 4


def test_routers_travel_as_bytes() -> None:
    config = RequestRouterConfig(request_router_class="round_robin")
    again = RequestRouterConfig.from_serialized_request_router_cls(
        {"request_routing_stats_period_s": 1.0}, config.get_serialized_request_router_cls()
    )
    assert again.get_request_router_class() is config.get_request_router_class()
    assert not config.is_default_request_router()
    assert RequestRouterConfig().is_default_request_router()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"gang_scheduling_config": {"gang_size": 2}, "num_replicas": 3}, "multiple of gang_size"),
        ({"gang_scheduling_config": {"gang_size": 0}}, "gang_size"),
        ({"gang_scheduling_config": {"size": 2}}, "has no size"),
        ({"logging_config": {"encoding": "XML"}}, "'TEXT' or 'JSON'"),
        ({"logging_config": {"log_level": "LOUD"}}, "DEBUG, INFO"),
        ({"logging_config": {"additional_log_standard_attrs": ["colour"]}}, "colour"),
        ({"max_surge_percent": 101}, "max_surge_percent"),
        ({"rolling_update_percentage": 0}, "rolling_update_percentage"),
        ({"deployment_actors": [{"name": "a", "actor_class": "nowhere:A"}]}, "cannot be imported"),
        (
            {"deployment_actors": [DeploymentActorConfig(name="a", actor_class=Counter)] * 2},
            "two deployment_actors",
        ),
        ({"placement_group_bundle_label_selector": [{"zone": "a"}]}, "one mapping for each"),
    ],
)
def test_options_that_are_wrong_say_what_is_allowed(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        DeploymentOptions(name="D", **options)
