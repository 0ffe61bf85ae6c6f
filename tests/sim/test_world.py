"""The world, its network and its processes: order, faults, and equal runs from equal seeds."""

from __future__ import annotations

from typing import Any

import pytest

from shoal.sim.network import Connection, Network, Weather
from shoal.sim.process import Machine, Process
from shoal.sim.trace import Trace
from shoal.sim.world import World


class Peer(Process):
    """Writes down all that happens to it; `talk` sends numbered messages to another."""

    def __init__(self, network: Network, name: str, machine: Machine | None = None) -> None:
        super().__init__(network, machine or Machine(name), name)
        self.heard: list[Any] = []
        self.ends: list[Connection] = []

    def connected(self, end: Connection) -> None:
        self.ends.append(end)

    def accepted(self, end: Connection) -> None:
        self.ends.append(end)

    def refused(self, name: str) -> None:
        self.heard.append(f"refused {name}")

    def received(self, end: Connection, message: Any) -> None:
        self.heard.append(message)

    def closed(self, end: Connection) -> None:
        self.heard.append("closed")


def pair(weather: Weather | None = None, seed: int = 0) -> tuple[World, Peer, Peer]:
    world = World(seed)
    network = Network(world, weather)
    one, two = Peer(network, "one"), Peer(network, "two")
    one.begin()
    two.begin()
    one.connect("two")
    assert world.run_until(lambda: bool(one.ends and two.ends), 10)
    return world, one, two


class TestWorld:
    def test_events_happen_in_the_order_of_time_and_then_of_scheduling(self) -> None:
        world, seen = World(), []
        world.after(2, seen.append, "c")
        world.after(1, seen.append, "a")
        world.at(1, seen.append, "b")
        assert world.run()
        assert seen == ["a", "b", "c"]
        assert world.now == 2

    def test_a_cancelled_timer_does_nothing(self) -> None:
        world, seen = World(), []
        timer = world.timer(1, seen.append, "x")
        timer.cancel()
        world.run()
        assert seen == []

    def test_running_until_a_time_stands_there(self) -> None:
        world = World()
        world.after(10, lambda: None)
        assert world.run(until=3)
        assert world.now == 3
        assert not world.run(events=0)
        assert not world.idle

    def test_streams_of_chance_do_not_disturb_each_other(self) -> None:
        one, two = World(5), World(5)
        two.chance("other").random()
        assert one.chance("x").random() == two.chance("x").random()
        assert one.chance("x").random() != World(6).chance("x").random()

    def test_a_trace_tells_runs_apart(self) -> None:
        one, two, three = Trace(), Trace(), Trace()
        for trace in (one, two):
            trace.add(1.0, "go", (b"\x01", 2))
        three.add(1.0, "go", (b"\x01", 3))
        assert one.digest() == two.digest() != three.digest()
        assert list(one) == ["1.000000 go 01 2"]


class TestNetwork:
    @pytest.mark.parametrize("loss", [0.0, 0.5])
    def test_a_stream_keeps_its_order_however_late(self, loss: float) -> None:
        world, one, two = pair(Weather(jitter=1.0, loss=loss))
        for number in range(100):
            one.ends[0].send(number)
        world.run()
        assert two.heard == list(range(100))

    def test_a_close_comes_after_what_was_sent(self) -> None:
        world, one, two = pair(Weather(jitter=1.0))
        one.ends[0].send("last words")
        one.ends[0].close()
        world.run()
        assert two.heard == ["last words", "closed"]
        assert one.network.open_ends() == 0

    def test_a_break_loses_a_tail_and_both_hear_of_it(self) -> None:
        world, one, two = pair(Weather(breaks=0.05), seed=3)
        for number in range(200):
            one.ends[0].send(number)
        world.run()
        got = [each for each in two.heard if each != "closed"]
        assert got == list(range(len(got)))
        assert len(got) < 200
        assert one.heard == ["closed"]
        assert two.heard[-1] == "closed"

    def test_a_short_partition_only_delays(self) -> None:
        world, one, two = pair()
        sides = frozenset(["one"]), frozenset(["two"])
        world.at(2, one.network.cut, *sides)
        world.at(2.1, lambda: [one.ends[0].send(number) for number in range(5)])
        world.at(4, one.network.heal, *sides)
        world.at(4.01, one.ends[0].send, 5)
        world.run(3.9)
        assert two.heard == []
        world.run()
        assert two.heard == [0, 1, 2, 3, 4, 5]

    def test_a_long_partition_is_noticed_by_each_end(self) -> None:
        world, one, two = pair()
        sides = frozenset(["one"]), frozenset(["two"])
        world.at(2, one.network.cut, *sides)
        world.run(20)
        assert one.heard == two.heard == ["closed"]
        one.connect("two")
        world.run(40)
        assert one.heard[-1] == "refused two"
        one.network.heal(*sides)
        one.connect("two")
        world.run(60)
        one.ends[-1].send("hello")
        world.run(80)
        assert two.heard[-1] == "hello"

    def test_a_dead_process_is_heard_of_at_once_and_a_dead_machine_by_its_silence(self) -> None:
        for with_machine, soonest, latest in ((False, 0.0, 0.1), (True, 5.0, 8.0)):
            world, one, two = pair()
            start = world.now
            two.computer.alive = not with_machine
            two.crash(with_machine)
            assert world.run_until(lambda one=one: one.heard == ["closed"], 100)  # type: ignore[misc]
            assert soonest <= world.now - start <= latest

    def test_nothing_of_an_earlier_life_reaches_a_process(self) -> None:
        world, one, two = pair(Weather(delay=1.0))
        one.ends[0].send("for the first life")
        two.after(1.0, two.heard.append, "a timer of the first life")
        world.run(world.now + 0.5)
        two.crash()
        two.begin()
        world.run()
        assert two.heard == []

    def test_a_slow_machine_is_slow(self) -> None:
        world, one, two = pair(Weather(jitter=0.0, delay=0.01))
        one.network.slow("two", 100)
        start = world.now
        one.ends[0].send("x")
        assert world.run_until(lambda: two.heard == ["x"], 100)
        assert world.now - start == pytest.approx(1.0)

    def test_transfers_take_their_bytes(self) -> None:
        _, one, _ = pair(Weather(bandwidth=1000, delay=0, jitter=0))
        assert one.network.transfer_seconds("one", "two", 5000) == pytest.approx(5)
        assert one.network.transfer_seconds("one", "one", 5000) == 0


def test_clocks_differ_and_timers_follow_them() -> None:
    world = World()
    network = Network(world)
    fast = Peer(network, "fast", Machine("fast", offset=30, drift=1.0))
    fast.begin()
    fast.after(10, fast.heard.append, "rang")
    world.run()
    assert world.now == 5
    assert fast.clock() == 40
