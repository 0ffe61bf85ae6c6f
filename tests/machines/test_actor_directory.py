"""ActorDirectory: who may become what, how often, and who is told."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from shoal.death import Cause, DeathCertificate
from shoal.machines import actors
from shoal.machines.actors import (
    ActorDirectory,
    ActorEnded,
    ActorRecord,
    Effect,
    EndWorker,
    PlaceActor,
    TellActor,
    WithdrawActor,
)

CLIENTS = [b"client-a", b"client-b", b"client-c"]
ACTOR = b"0123456789abcdef"


def certificate(detail: str = "", cause: Cause = Cause.SIGNALLED) -> DeathCertificate:
    return DeathCertificate(what="actor", cause=cause, detail=detail)


def record(
    actor_id: bytes = ACTOR,
    name: str = "",
    max_restarts: int = 0,
    detached: bool = False,
    creator: bytes = b"c",
) -> ActorRecord:
    return ActorRecord(
        actor_id=actor_id,
        creator=creator,
        class_name="Counter",
        name=name,
        namespace="ns",
        detached=detached,
        max_restarts=max_restarts,
        specification={"class": b"pickled"},
    )


def kinds(effects: Iterable[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


class Shell:
    """Carries effects out as the daemon does, on plain data, and keeps what each client was told."""

    def __init__(self, directory: ActorDirectory) -> None:
        self.directory = directory
        self.places: list[bytes] = []  # actors that wait for a worker
        self.workers: dict[bytes, bytes] = {}  # living worker → actor
        self.told: dict[tuple[bytes, bytes], tuple[str, int]] = {}
        self.ended: dict[bytes, int] = {}  # actor → how often observers heard of its death for good
        self.restarts: dict[bytes, int] = {}
        self.ending: set[bytes] = set()  # workers that were told to end

    def carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, PlaceActor):
                assert effect.actor_id not in self.places, "asked twice for a place"
                assert effect.actor_id not in self.workers.values(), "asked for a place while it has one"
                self.places.append(effect.actor_id)
            elif isinstance(effect, WithdrawActor):
                if effect.actor_id in self.places:
                    self.places.remove(effect.actor_id)
            elif isinstance(effect, EndWorker):
                assert effect.worker, "an order to end no worker"
                self.ending.add(effect.worker)
            elif isinstance(effect, TellActor):
                found = self.directory.find(effect.actor_id)
                for client in effect.clients:
                    state = ("DEAD", 0) if found is None else (found.state, found.incarnation)
                    self.told[effect.actor_id, client] = state
            else:
                counts = self.restarts if effect.restarting else self.ended
                counts[effect.actor_id] = counts.get(effect.actor_id, 0) + 1


def begin(directory: ActorDirectory, worker: bytes, actor_id: bytes = ACTOR) -> int:
    """A node is asked to start an actor, and has found a worker. Returns the incarnation."""
    incarnation = directory.begin(actor_id)
    assert directory.placed(actor_id, incarnation, worker)
    return incarnation


class Directory(RuleBasedStateMachine):
    actors = Bundle("actors")

    @initialize()
    def start(self) -> None:
        self.directory = ActorDirectory()
        self.shell = Shell(self.directory)
        self.bounds: dict[bytes, int] = {}
        self.subscribed: set[tuple[bytes, bytes]] = set()
        self.number = 0

    @rule(
        target=actors,
        name=st.sampled_from(["", "", "a", "b"]),
        max_restarts=st.sampled_from([0, 0, 1, 2, -1]),
        detached=st.booleans(),
        creator=st.sampled_from(CLIENTS),
    )
    def create(self, name: str, max_restarts: int, detached: bool, creator: bytes) -> bytes:
        self.number += 1
        actor_id = self.number.to_bytes(16, "big")
        taken = bool(name) and self.directory.find_name(name, "ns") is not None
        made, effects = self.directory.create(record(actor_id, name, max_restarts, detached, creator))
        assert made is not taken
        if made:
            assert kinds(effects) == [PlaceActor]
            self.bounds[actor_id] = max_restarts
        else:
            assert (effects, self.directory.find(actor_id)) == ([], None)
        self.shell.carry_out(effects)
        return actor_id

    @rule(index=st.integers(0, 3))
    def place(self, index: int) -> None:
        if index < len(self.shell.places):
            actor_id = self.shell.places.pop(index)
            worker = b"worker" + (len(self.shell.workers) + self.number * 1000).to_bytes(4, "big")
            while worker in self.shell.workers:
                worker += b"+"
            assert begin(self.directory, worker, actor_id) > 0, "an actor that waits for a place is not dead"
            self.shell.workers[worker] = actor_id

    @rule(actor_id=actors, late=st.integers(0, 1))
    def ready(self, actor_id: bytes, late: int) -> None:
        found = self.directory.find(actor_id)
        if found is not None:
            self.shell.carry_out(self.directory.ready(actor_id, found.incarnation - late))

    @rule(actor_id=actors, late=st.integers(0, 1))
    def init_failed(self, actor_id: bytes, late: int) -> None:
        found = self.directory.find(actor_id)
        if found is None or found.state == "ALIVE":
            return  # its constructor has returned
        effects = self.directory.init_failed(
            actor_id, found.incarnation - late, b"error", certificate("init")
        )
        self.shell.carry_out(effects)

    @rule(index=st.integers(0, 3))
    def worker_dies(self, index: int) -> None:
        workers = list(self.shell.workers)
        if index < len(workers):
            del self.shell.workers[workers[index]]
            self.shell.ending.discard(workers[index])
            self.shell.carry_out(self.directory.worker_died(workers[index], certificate("died")))

    @rule(actor_id=actors, no_restart=st.booleans())
    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        found = self.directory.find(actor_id)
        name = found.name if found is not None else ""
        self.shell.carry_out(self.directory.kill(actor_id, no_restart, certificate("kill")))
        if no_restart and found is not None and name:
            holder = self.directory.find_name(name, "ns")
            assert holder is not found, "a killed actor keeps its name"

    @rule(actor_id=actors)
    def exiting(self, actor_id: bytes) -> None:
        self.shell.carry_out(self.directory.exiting(actor_id, certificate("exit")))

    @rule(actor_id=actors)
    def cannot_start(self, actor_id: bytes) -> None:
        found = self.directory.find(actor_id)
        if found is not None and not found.worker:
            self.shell.carry_out(self.directory.cannot_start(actor_id, certificate("environment")))

    @rule(actor_id=actors, client=st.sampled_from(CLIENTS))
    def subscribe(self, actor_id: bytes, client: bytes) -> None:
        self.subscribed.add((actor_id, client))
        self.shell.carry_out(self.directory.subscribe(actor_id, client))
        assert (actor_id, client) in self.shell.told, "who subscribes is told at once"

    @rule(client=st.sampled_from(CLIENTS))
    def client_gone(self, client: bytes) -> None:
        self.subscribed -= {pair for pair in self.subscribed if pair[1] == client}
        self.shell.carry_out(self.directory.client_gone(client, certificate("owner", Cause.OWNER_DIED)))
        for found in self.directory.all():
            if found.creator == client and not found.detached:
                assert found.state == "DEAD" or found.worker in self.shell.ending

    @invariant()
    def holds_together(self) -> None:
        self.directory.validate()
        for found in self.directory.all():
            actor_id = found.actor_id
            bound = self.bounds[actor_id]
            assert bound == -1 or self.shell.restarts.get(actor_id, 0) <= bound, "restarted too often"
            assert self.shell.ended.get(actor_id, 0) == (found.state == "DEAD"), "each death is told once"
            if found.state == "DEAD":
                assert found.certificate is not None
                assert actor_id not in self.shell.places
                here = [worker for worker, one in self.shell.workers.items() if one == actor_id]
                assert set(here) <= self.shell.ending, "a dead actor's worker goes on"
            else:
                waits = actor_id in self.shell.places
                works = found.worker in self.shell.workers
                assert waits != works, "an actor either waits for a place or has one"
                assert found.state != "ALIVE" or works
        for actor_id, client in self.subscribed:
            known = self.directory.find(actor_id)
            expected = "DEAD" if known is None else known.state
            assert self.shell.told[actor_id, client][0] == expected, "a subscriber was not told"


TestDirectory = Directory.TestCase
TestDirectory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def alive(max_restarts: int = 0, name: str = "") -> ActorDirectory:
    directory = ActorDirectory()
    directory.create(record(max_restarts=max_restarts, name=name))
    assert begin(directory, b"worker-1") == 1
    directory.ready(ACTOR, 1)
    return directory


def state(directory: ActorDirectory) -> str:
    found = directory.find(ACTOR)
    assert found is not None
    directory.validate()
    return found.state


def test_the_life_of_an_actor_with_a_restart() -> None:
    directory = alive(max_restarts=1)
    directory.subscribe(ACTOR, b"client")
    effects = directory.worker_died(b"worker-1", certificate("first"))
    assert kinds(effects) == [WithdrawActor, ActorEnded, TellActor, PlaceActor]
    assert state(directory) == "RESTARTING"
    assert begin(directory, b"worker-2") == 2
    directory.ready(ACTOR, 2)
    assert state(directory) == "ALIVE"
    effects = directory.worker_died(b"worker-2", certificate("second"))
    assert kinds(effects) == [WithdrawActor, ActorEnded, TellActor]
    assert state(directory) == "DEAD"
    found = directory.find(ACTOR)
    assert found is not None
    assert found.certificate == certificate("second")


def test_a_failed_constructor_is_the_end_whatever_restarts_are_left() -> None:
    directory = ActorDirectory()
    directory.create(record(max_restarts=-1))
    begin(directory, b"worker-1")
    effects = directory.init_failed(ACTOR, 1, b"error", certificate("it raised"))
    assert kinds(effects) == [EndWorker, WithdrawActor, ActorEnded, TellActor]
    assert state(directory) == "DEAD"
    assert directory.worker_died(b"worker-1", certificate("later")) == []


@pytest.mark.parametrize("event", ["ready", "init_failed"])
def test_words_of_a_worker_that_is_gone_change_nothing_for_the_worse(event: str) -> None:
    directory = alive(max_restarts=1)
    directory.worker_died(b"worker-1", certificate())
    if event == "ready":
        assert directory.ready(ACTOR, 1) == []
    else:
        assert EndWorker not in kinds(directory.init_failed(ACTOR, 1, b"error", certificate()))
    assert state(directory) in ("RESTARTING", "DEAD")


def test_an_actor_dies_once() -> None:
    directory = ActorDirectory()
    directory.create(record())
    begin(directory, b"worker-1")
    directory.kill(ACTOR, True, certificate("killed"))
    assert directory.init_failed(ACTOR, 1, b"error", certificate("too late")) == []
    assert directory.kill(ACTOR, True, certificate("again")) == []
    assert directory.cannot_start(ACTOR, certificate("again")) == []
    found = directory.find(ACTOR)
    assert found is not None
    assert found.certificate == certificate("killed")


def test_killed_for_good_it_tells_why_and_frees_its_name_at_once() -> None:
    directory = alive(max_restarts=-1, name="only")
    effects = directory.kill(ACTOR, True, certificate("kill() was called"))
    assert kinds(effects) == [EndWorker]
    assert directory.find_name("only", "ns") is None, "get_actor would find a killed actor"
    made, _ = directory.create(record(b"another actor id", name="only"))
    assert made, "the name is free once kill() was called"
    directory.worker_died(b"worker-1", certificate("signal 9"))
    found = directory.find(ACTOR)
    assert found is not None
    assert found.certificate == certificate("kill() was called")
    holder = directory.find_name("only", "ns")
    assert holder is not None
    assert holder.actor_id == b"another actor id", "its death must not take the name from its heir"


def test_killed_with_restart_it_comes_back_if_it_may() -> None:
    directory = alive(max_restarts=1)
    assert kinds(directory.kill(ACTOR, False, certificate("again"))) == [EndWorker]
    directory.worker_died(b"worker-1", certificate("signal 9"))
    assert state(directory) == "RESTARTING"


def test_a_kill_with_restart_leaves_an_actor_alone_that_is_starting() -> None:
    directory = ActorDirectory()
    directory.create(record(max_restarts=1))
    begin(directory, b"worker-1")
    assert directory.kill(ACTOR, False, certificate()) == []
    assert state(directory) == "PENDING"


def test_exit_is_for_good() -> None:
    directory = alive(max_restarts=-1)
    directory.exiting(ACTOR, certificate("exit_actor()", Cause.INTENDED_EXIT))
    directory.worker_died(b"worker-1", certificate("exit code 0", Cause.EXITED))
    assert state(directory) == "DEAD"
    found = directory.find(ACTOR)
    assert found is not None
    assert found.certificate is not None
    assert found.certificate.cause is Cause.INTENDED_EXIT


def test_the_dead_are_remembered_up_to_a_bound() -> None:
    directory = ActorDirectory()
    for number in range(actors._DEAD_KEPT + 5):
        actor_id = number.to_bytes(16, "big")
        directory.create(record(actor_id))
        directory.kill(actor_id, True, certificate())
    assert len(directory.all()) == actors._DEAD_KEPT
    assert directory.find((4).to_bytes(16, "big")) is None
    assert directory.find((5).to_bytes(16, "big")) is not None
    assert directory.subscribe((4).to_bytes(16, "big"), b"late") == [
        TellActor((4).to_bytes(16, "big"), (b"late",))
    ], "who asks for a forgotten actor is answered as well"
    directory.validate()


def test_names_are_listed_sorted_and_by_namespace() -> None:
    directory = ActorDirectory()
    for number, name in enumerate(["b", "a"]):
        directory.create(record(number.to_bytes(16, "big"), name=name))
    assert directory.names() == [("ns", "a"), ("ns", "b")]
    assert directory.find_name("a", "elsewhere") is None


def test_a_worker_that_comes_too_late_is_not_wanted() -> None:
    directory = ActorDirectory()
    directory.create(record(max_restarts=1))
    first = directory.begin(ACTOR)
    second = directory.begin(ACTOR)  # the node that was asked first is given up
    assert second > first
    assert not directory.placed(ACTOR, first, b"worker-1")
    assert directory.placed(ACTOR, second, b"worker-2")
    assert directory.begin(ACTOR) == 0, "it has a place"


def test_a_detached_actor_outlives_its_creator_and_forgets_it() -> None:
    directory = ActorDirectory()
    directory.create(record(detached=True, creator=b"driver"))
    begin(directory, b"worker-1")
    assert directory.client_gone(b"driver", certificate()) == []
    found = directory.find(ACTOR)
    assert found is not None
    assert (found.state, found.creator) == ("PENDING", b"")
