"""A day in virtual time: repeatable, and with the differences between policies that they are there for."""

from __future__ import annotations

import json

import pytest

from shoal.autoscaler.simulate import a_day, compare, main
from shoal.autoscaler.spec import cluster_of
from shoal.sim.world import World

SPEC = cluster_of(
    {
        "name": "day",
        "provider": {"kind": "virtual"},
        "max_machines": 20,
        "idle_seconds": 300,
        "node_types": {
            "cpu": {"resources": {"CPU": 8}, "max": 20, "cost": 0.4},
            "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max": 4, "cost": 3.0},
        },
    }
)


def test_a_day_is_the_same_each_time() -> None:
    assert a_day(World(3), 0.1) == a_day(World(3), 0.1)
    assert a_day(World(3), 0.1) != a_day(World(4), 0.1)
    assert compare(SPEC, ["demand"], 1, 0.1) == compare(SPEC, ["demand"], 1, 0.1)


def test_policies_trade_waiting_for_cost() -> None:
    found = {one.policy: one for one in compare(SPEC, ["demand", "patient", "headroom"], 0, 0.2)}
    assert all(one.unfinished == 0 for one in found.values())
    fixed, demand = found["(fixed)"], found["demand"]
    assert demand.cost < fixed.cost / 2
    assert found["patient"].cost < demand.cost
    assert found["patient"].mean_wait > demand.mean_wait
    assert found["headroom"].mean_wait < demand.mean_wait
    assert found["headroom"].cost > demand.cost
    assert demand.peak <= SPEC.max_machines


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--busy", "0.05", "--policy", "demand"]) == 0
    assert "machine-hours" in capsys.readouterr().out
    assert main(["--busy", "0.05", "--policy", "demand", "--json"]) == 0
    assert [one["policy"] for one in json.loads(capsys.readouterr().out)] == ["(fixed)", "demand"]


@pytest.mark.parametrize("words", [["--policy", "nosuch"], ["--cluster", "/no/such"], ["--busy", "0"]])
def test_the_command_says_what_is_wrong(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert words[1] in capsys.readouterr().err or "above 0" in words[1] or words[1] == "0"
