"""The controller's state machine: whatever happens in whatever order, it comes to what was asked for."""

from __future__ import annotations

import itertools

import attrs
import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.serve.control.events import (
    Action,
    Delete,
    Deploy,
    Died,
    Failed,
    Placed,
    PublishRoutes,
    Reconfigure,
    Scale,
    Start,
    Started,
    Stop,
    Stopped,
    Tick,
)
from shoal.serve.control.machine import RUNNING, Machine
from shoal.serve.deployment import DeploymentOptions
from shoal.serve.messages import ApplicationSpec, DeploymentSpec


def app(
    version: str = "1", replicas: int = 2, name: str = "a", user_config: object = None
) -> ApplicationSpec:
    """Return an application of one deployment."""
    options = DeploymentOptions(name="D", num_replicas=replicas, user_config=user_config)
    spec = DeploymentSpec(options=options, code=b"", version=version)
    return ApplicationSpec(name=name, route_prefix="/" + name, ingress="D", deployments={"D": spec})


class World:
    """Replicas that do as the machine says, when the test lets them."""

    def __init__(self) -> None:
        numbers = itertools.count()
        self.machine = Machine(lambda: str(next(numbers)))
        self.now = 0.0
        self.starting: dict[str, str] = {}  # replica to version
        self.running: dict[str, str] = {}
        self.stopping: set[str] = set()
        self.actions: list[Action] = []

    def do(self, event: object, seconds: float = 0.0) -> list[Action]:
        """Have something happen and carry out what the machine wants."""
        self.now += seconds
        actions = self.machine.handle(event, self.now)  # type: ignore[arg-type]
        for action in actions:
            if isinstance(action, Start):
                self.starting[action.replica] = action.spec.version
            elif isinstance(action, Stop):
                assert action.replica not in self.stopping, "a replica is stopped once"
                self.starting.pop(action.replica, None)
                self.running.pop(action.replica, None)
                self.stopping.add(action.replica)
        self.actions += actions
        return actions

    def start(self, replica: str) -> list[Action]:
        """A replica comes up."""
        self.running[replica] = self.starting.pop(replica)
        self.do(Placed(replica))
        return self.do(Started(replica))

    def stop(self, replica: str) -> list[Action]:
        """A replica has ended."""
        self.stopping.discard(replica)
        return self.do(Stopped(replica))

    def settle(self) -> None:
        """Let everything succeed until nothing moves."""
        for _ in range(1000):
            self.do(Tick(), 1.0)
            if not self.starting and not self.stopping:
                return
            for replica in list(self.starting):
                if replica in self.starting:
                    self.start(replica)
            for replica in list(self.stopping):
                self.stop(replica)
        raise AssertionError("it does not settle")


def test_an_application_comes_up_and_its_route_is_told_when_it_serves() -> None:
    world = World()
    world.do(Deploy((app(),)))
    assert len(world.starting) == 2
    assert world.machine.apps["a"].status == "DEPLOYING"
    assert not any(isinstance(each, PublishRoutes) for each in world.actions)
    first, second = world.starting
    assert any(isinstance(each, PublishRoutes) for each in world.start(first))
    world.start(second)
    assert world.machine.apps["a"].status == "RUNNING"


def test_a_new_version_comes_up_beside_the_old_one_which_never_goes_first() -> None:
    world = World()
    world.do(Deploy((app("1", 4),)))
    world.settle()
    world.do(Deploy((app("2", 4),)))
    while set(world.running.values()) != {"2"} or len(world.running) < 4:
        assert len(world.running) >= 4, "as many serve as before"
        assert len(world.running) + len(world.starting) <= 5
        if world.starting:
            world.start(next(iter(world.starting)))
        for each in list(world.stopping):
            world.stop(each)
        world.do(Tick(), 0.1)
    assert world.machine.apps["a"].status == "RUNNING"


def test_where_there_is_no_room_an_old_replica_makes_some() -> None:
    world = World()
    world.do(Deploy((app("1", 2),)))
    world.settle()
    world.do(Deploy((app("2", 2),)))
    assert len(world.starting) == 1
    world.do(Tick(), 3.0)
    assert not world.stopping, "it has not waited long"
    world.do(Tick(), 3.0)
    assert len(world.stopping) == 1
    world.do(Tick(), 3.0)
    assert len(world.stopping) == 1, "one at a time"
    world.settle()
    assert sorted(world.running.values()) == ["2", "2"]


def test_a_version_that_fails_leaves_the_old_one_and_says_why() -> None:
    world = World()
    world.do(Deploy((app("1"),)))
    world.settle()
    world.do(Deploy((app("2"),)))
    for _ in range(200):
        for each in list(world.starting):
            if world.starting.get(each) == "2":
                del world.starting[each]
                world.do(Failed(each, "RuntimeError: no weights"))
        for each in list(world.stopping):
            world.stop(each)
        world.do(Tick(), 5.0)
    deployment = world.machine.apps["a"].deployments["D"]
    assert deployment.status == "DEPLOY_FAILED"
    assert "no weights" in deployment.message
    assert list(world.running.values()) == ["1", "1"]
    world.do(Deploy((app("3"),)))
    world.settle()
    assert list(world.running.values()) == ["3", "3"]
    assert world.machine.apps["a"].status == "RUNNING"


def test_a_dead_replica_is_replaced_and_its_constructor_may_fail_a_while() -> None:
    world = World()
    world.do(Deploy((app(),)))
    world.settle()
    dead = next(iter(world.running))
    del world.running[dead]
    world.do(Died(dead, "killed"))
    assert world.machine.apps["a"].status == "UNHEALTHY"
    world.settle()
    assert len(world.running) == 2
    assert world.machine.apps["a"].status == "RUNNING"


def test_a_new_configuration_goes_to_the_replicas_that_are_there() -> None:
    world = World()
    world.do(Deploy((app(),)))
    world.settle()
    before = set(world.running)
    actions = world.do(Deploy((app(user_config={"a": 1}),)))
    assert {each.replica for each in actions if isinstance(each, Reconfigure)} == before
    assert set(world.running) == before


def test_deleting_ends_everything_and_the_name_is_free() -> None:
    world = World()
    world.do(Deploy((app(),)))
    world.settle()
    world.do(Delete("a"))
    assert world.machine.apps["a"].status == "DELETING"
    world.settle()
    assert world.machine.apps == {}
    assert not world.running


def test_an_application_that_is_deployed_while_it_is_deleted_comes_back() -> None:
    world = World()
    world.do(Deploy((app(),)))
    world.settle()
    world.do(Delete("a"))
    world.do(Deploy((app("2"),)))
    world.settle()
    assert list(world.running.values()) == ["2", "2"]
    assert world.machine.apps["a"].status == "RUNNING"


class Chaos(RuleBasedStateMachine):
    """Anything may happen at any time; once it stops, what was asked for last is there."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.wanted: ApplicationSpec | None = None

    @rule(version=st.sampled_from("123"), replicas=st.integers(1, 5))
    def deploy(self, version: str, replicas: int) -> None:
        self.wanted = app(version, replicas)
        self.world.do(Deploy((self.wanted,)))

    @rule()
    def delete(self) -> None:
        self.wanted = None
        self.world.do(Delete("a"))

    @rule(replicas=st.integers(1, 5))
    def scale(self, replicas: int) -> None:
        known = self.world.machine.apps.get("a")
        if self.wanted is not None and known is not None and not known.deployments["D"].deleted:
            options = attrs.evolve(self.wanted.deployments["D"].options, num_replicas=replicas)
            spec = attrs.evolve(self.wanted.deployments["D"], options=options)
            self.wanted = attrs.evolve(self.wanted, deployments={"D": spec})
        self.world.do(Scale("a", "D", replicas))

    @precondition(lambda self: self.world.starting)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.world.start(data.draw(st.sampled_from(sorted(self.world.starting))))

    @precondition(lambda self: self.world.starting)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        replica = data.draw(st.sampled_from(sorted(self.world.starting)))
        del self.world.starting[replica]
        self.world.do(Failed(replica, "why"))

    @precondition(lambda self: self.world.running)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        replica = data.draw(st.sampled_from(sorted(self.world.running)))
        del self.world.running[replica]
        self.world.do(Died(replica, "why"))

    @precondition(lambda self: self.world.stopping)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        self.world.stop(data.draw(st.sampled_from(sorted(self.world.stopping))))

    @rule(seconds=st.sampled_from([0.1, 6.0, 30.0]))
    def tick(self, seconds: float) -> None:
        self.world.do(Tick(), seconds)

    @invariant()
    def what_the_machine_thinks_is_so(self) -> None:
        believed = {
            replica.replica_id
            for each in self.world.machine.apps.values()
            for deployment in each.deployments.values()
            for replica in deployment.of(RUNNING)
        }
        assert believed == set(self.world.running)

    def teardown(self) -> None:
        failed = False
        known = self.world.machine.apps.get("a")
        if known is not None and not known.deleting:
            failed = any(each.failed for each in known.deployments.values())
        self.world.settle()
        if self.wanted is None:
            assert not self.world.machine.apps
            assert not self.world.running
            return
        if failed:  # what it was before, if it ever was anything, is there
            return
        spec = self.wanted.deployments["D"]
        assert list(self.world.running.values()) == [spec.version] * spec.options.num_replicas


TestChaos = Chaos.TestCase
TestChaos.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
