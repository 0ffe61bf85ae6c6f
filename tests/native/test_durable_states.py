"""The head's keeping of states: only the present process may save, nothing of the past or the dead stays behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shoal.config import Config
from shoal.death import DeathCertificate
from shoal.interfaces.metadata import Metadata, Write
from shoal.machines.actors import ActorRecord
from shoal.metadata.memory import MemoryMetadata
from shoal.metadata.sqlite import SqliteMetadata
from shoal.native.head.durable import PIECE_BYTES
from shoal.native.head.head import Head
from shoal.schedulers.hybrid import HybridScheduler
from shoal.schedulers.sharing import FairSharing

ACTOR = b"a" * 16
FIRST, SECOND = b"\0\0\0\1\0\0\0\1", b"\0\0\0\2\0\0\0\1"  # processes on two nodes


class Failing(MemoryMetadata):
    """A store that cannot be reached while `away`, and notes how large its requests are."""

    __slots__ = ("away", "forgets_to_answer", "largest")

    def __init__(self) -> None:
        super().__init__("")
        self.away = False
        self.forgets_to_answer = False
        self.largest = 0

    def apply(self, writes: Any) -> None:
        if self.away:
            raise OSError("nobody answers")
        self.largest = max(self.largest, sum(len(write.value or b"") for write in writes), len(writes))
        super().apply(writes)
        if self.forgets_to_answer:
            raise OSError("the connection broke")


class World:
    """A head with one durable actor. Timers run when told."""

    def __init__(self, metadata: Metadata, keeps: bool = True) -> None:
        self.metadata = metadata
        self.timers: list[Callable[[], None]] = []
        self.head = Head(
            Config(),
            metadata,
            HybridScheduler({}),
            FairSharing(),
            lambda seconds, callback: self.timers.append(callback),
            keeps_records=keeps,
            session="s",
        )
        self.states = self.head.durable
        self.directory = self.head.actors.directory

    def create(self, actor_id: bytes = ACTOR, worker: bytes = FIRST) -> int:
        record = ActorRecord(
            actor_id=actor_id,
            creator=b"c" * 8,
            class_name="Kept",
            name="",
            namespace="",
            detached=True,
            max_restarts=-1,
            specification={"arguments": b"", "class_hash": b""},
            durable=True,
        )
        self.directory.create(record)
        return self.begin(worker, actor_id)

    def begin(self, worker: bytes, actor_id: bytes = ACTOR) -> int:
        incarnation = self.directory.begin(actor_id)
        assert self.directory.placed(actor_id, incarnation, worker)
        self.head.actors._save(actor_id)
        return incarnation

    def save(self, incarnation: int, version: int, data: bytes, client: bytes = FIRST) -> dict[str, Any]:
        count = max(1, -(-len(data) // PIECE_BYTES))
        if count == 1:
            return self.states.commit(client, ACTOR, incarnation, version, 1, len(data), data)
        for index in range(count):
            piece = data[index * PIECE_BYTES : (index + 1) * PIECE_BYTES]
            answer = self.states.piece(client, ACTOR, incarnation, version, index, count, piece)
            if answer:
                return answer
        return self.states.commit(client, ACTOR, incarnation, version, count, len(data), None)

    def load(self, incarnation: int, client: bytes = FIRST) -> bytes | None:
        first = self.states.load(client, ACTOR, incarnation, 0)
        if "data" not in first:
            return None
        rest = [
            self.states.load(client, ACTOR, incarnation, index)["data"] for index in range(1, first["pieces"])
        ]
        return b"".join([first["data"], *rest])

    def kept(self) -> int:
        """How many keys there are."""
        suffix = "" if self.head.records.keeps else ":s"
        return sum(
            len(self.metadata.items(table + suffix)) for table in ("shoal:durable", "shoal:durable:pieces")
        )

    def lose_process(self, worker: bytes) -> None:
        self.directory.worker_died(worker, DeathCertificate(what="actor"))


@pytest.fixture
def metadata() -> Failing:
    return Failing()


@pytest.fixture
def world(metadata: Failing) -> World:
    return World(metadata)


SIZES = [10, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES, 3 * PIECE_BYTES, 7, 2 * PIECE_BYTES, 0, 1]


def test_the_last_state_comes_back_whatever_its_size_and_the_others_are_gone(world: World) -> None:
    now = world.create()
    assert world.load(now) is None
    for version, size in enumerate(SIZES, 1):
        data = bytes([version]) * size
        assert world.save(now, version, data) == {}
        assert world.load(now) == data
        assert world.kept() == 1 + max(1, -(-size // PIECE_BYTES))
    for version in range(100, 300):
        world.save(now, version, b"x")
    assert world.kept() == 2, "nothing grows with the history"


def test_requests_stay_below_what_a_store_takes(world: World, metadata: Failing) -> None:
    now = world.create()
    world.save(now, 1, b"x" * (150 * PIECE_BYTES))
    world.save(now, 2, b"y")
    assert metadata.largest < PIECE_BYTES + 1000
    assert world.load(now) == b"y"
    assert world.kept() == 2


def test_only_the_present_process_may_save_or_load(world: World) -> None:
    first = world.create()
    world.save(first, 1, b"one")
    world.lose_process(FIRST)
    assert "fenced" in world.save(first, 2, b"between")
    second = world.begin(SECOND)
    assert world.load(second, SECOND) == b"one"
    assert "has taken over" in world.save(first, 2, b"late")["fenced"]
    assert "fenced" in world.save(second, 2, b"wrong process", FIRST)
    assert "fenced" in world.save(first, 2, b"l" * (2 * PIECE_BYTES))
    assert world.load(first) is None
    assert world.save(second, 2, b"two", SECOND) == {}
    assert world.load(second, SECOND) == b"two"


def test_what_was_begun_by_a_process_that_died_is_cleared_away(world: World) -> None:
    first = world.create()
    world.save(first, 1, b"one")
    for index in range(4):
        world.states.piece(FIRST, ACTOR, first, 2, index, 6, b"p" * PIECE_BYTES)
    world.lose_process(FIRST)
    second = world.begin(SECOND)
    assert world.load(second, SECOND) == b"one"
    world.save(second, 2, b"two", SECOND)
    assert world.kept() == 2


def test_a_save_that_is_asked_again_changes_nothing(world: World) -> None:
    now = world.create()
    world.save(now, 1, b"one")
    world.save(now, 2, b"two")
    assert world.save(now, 1, b"one") == {}
    assert world.load(now) == b"two"


def test_a_store_that_is_away_leaves_the_last_state_whole(world: World, metadata: Failing) -> None:
    now = world.create()
    world.save(now, 1, b"one")
    metadata.away = True
    for data in (b"two", b"t" * (3 * PIECE_BYTES)):
        with pytest.raises(OSError, match="nobody answers"):
            world.save(now, 2, data)
    metadata.away = False
    assert world.load(now) == b"one"
    world.save(now, 2, b"two")
    assert world.load(now) == b"two"


@pytest.mark.parametrize("size", [9, 2 * PIECE_BYTES])
@pytest.mark.parametrize("is_another_head", [False, True])
def test_a_save_of_which_nobody_knows_whether_it_was_done(
    world: World, metadata: Failing, size: int, is_another_head: bool
) -> None:
    """The process that tried dies; the next one has either state, and its own saves count."""
    first = world.create()
    world.save(first, 1, b"1" * size)
    pieces = max(1, -(-size // PIECE_BYTES))
    if pieces > 1:
        for index in range(pieces):
            world.states.piece(FIRST, ACTOR, first, 2, index, pieces, b"2" * PIECE_BYTES)
    metadata.forgets_to_answer = True
    with pytest.raises(OSError, match="broke"):
        world.states.commit(FIRST, ACTOR, first, 2, pieces, size, b"2" * size if pieces == 1 else None)
    metadata.forgets_to_answer = False
    world.lose_process(FIRST)
    second = world.begin(SECOND)
    if is_another_head:
        world = World(metadata)
    assert world.load(second, SECOND) == b"2" * size
    for version in (2, 3):
        data = bytes([version]) * size
        assert world.save(second, version, data, SECOND) == {}
        assert world.load(second, SECOND) == data, "taken for the save of the process before"
        assert world.kept() == 1 + pieces


def test_the_dead_leave_nothing(world: World, metadata: Failing) -> None:
    now = world.create()
    world.save(now, 1, b"x" * (3 * PIECE_BYTES))
    metadata.away = True
    world.states.forget(ACTOR)
    metadata.away = False
    assert world.kept() == 4, "the store was away"
    again, world.timers = world.timers, []
    for timer in again:
        timer()
    assert world.kept() == 0


def test_the_end_of_an_actor_takes_its_state_along(world: World) -> None:
    now = world.create()
    world.save(now, 1, b"one")
    world.directory.ready(ACTOR, now)
    world.head.actors.kill(ACTOR, True)
    assert world.kept() == 2, "its process has not ended yet"
    world.head.actors.worker_died(FIRST, {"what": "actor", "identity": ACTOR.hex()})
    assert world.kept() == 0
    assert "dead" in world.save(now, 2, b"two")["fenced"]


@pytest.mark.parametrize("size", [5, 3 * PIECE_BYTES])
def test_another_head_goes_on(tmp_path: Path, size: int) -> None:
    path = str(tmp_path / "m.db")
    store = SqliteMetadata(path)
    world = World(store)
    now = world.create()
    world.save(now, 4, b"x" * size)
    store.apply(
        [Write("shoal:durable", b"z" * 16, store.get("shoal:durable", ACTOR))]
    )  # of an actor that is gone
    store.close()
    store = SqliteMetadata(path)
    later = World(store)
    assert later.load(now) == b"x" * size
    assert later.save(now, 5, b"more") == {}
    assert "fenced" in later.save(now - 1, 6, b"old")
    assert store.get("shoal:durable", b"z" * 16) is None
    (told,) = later.states.table(b"")
    assert (told["version"], told["size"], told["class_name"]) == (5, 4, "Kept")
    assert told["restored"] >= told["restored_from"] > 0
    store.close()


def test_a_session_of_its_own_leaves_nothing_in_a_store_that_others_use() -> None:
    store = MemoryMetadata("")
    world = World(store, keeps=False)
    now = world.create()
    world.save(now, 1, b"one")
    assert world.kept() == 2
    assert store.items("shoal:durable") == []
    world.states.clear()
    assert world.kept() == 0
