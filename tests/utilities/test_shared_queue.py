"""Queue: order, bounds, waiting, batches, and use from several processes."""

from __future__ import annotations

import asyncio
import queue
from typing import Any

import pytest

import shoal
from shoal.errors import ActorDied
from shoal.util.queue import Empty, Full, Queue

pytestmark = pytest.mark.usefixtures("session")


def test_items_come_in_order() -> None:
    shared = Queue()
    for item in range(5):
        shared.put(item)
    assert (len(shared), shared.qsize(), shared.size(), shared.empty()) == (5, 5, 5, False)
    assert [shared.get() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert shared.empty()


def test_without_room_or_items_it_says_so() -> None:
    shared = Queue(maxsize=2)
    with pytest.raises(Empty):
        shared.get_nowait()
    shared.put_nowait(1)
    shared.put_nowait(2)
    assert shared.full()
    with pytest.raises(Full, match="2 items already"):
        shared.put_nowait(3)
    with pytest.raises(queue.Full):  # the standard library's too
        shared.put(3, block=False)
    with pytest.raises(ValueError, match="timeout must be"):
        shared.get(timeout=-1)


def test_batches_go_whole_or_not_at_all() -> None:
    shared = Queue(maxsize=4)
    shared.put_nowait_batch(range(3))
    with pytest.raises(Full, match="no room for 2 more"):
        shared.put_nowait_batch([1, 2])
    with pytest.raises(Empty, match="has 3 items, not the 4"):
        shared.get_nowait_batch(4)
    assert shared.get_nowait_batch(3) == [0, 1, 2]
    with pytest.raises(TypeError, match="can be iterated"):
        shared.put_nowait_batch(1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="≥ 0"):
        shared.get_nowait_batch(-1)


def test_async_calls() -> None:
    shared = Queue(maxsize=1)

    async def both() -> Any:
        await shared.put_async("a")
        with pytest.raises(Full):
            await shared.put_async("b", block=False)
        found = await shared.get_async()
        with pytest.raises(Empty):
            await shared.get_async(block=False)
        return found

    assert asyncio.run(both()) == "a"


def test_a_queue_that_was_shut_down_is_dead() -> None:
    shared = Queue()
    shared.put(1)
    shared.shutdown()
    with pytest.raises(ActorDied):
        shared.put(2)
    other = Queue()
    other.shutdown(force=True)
    with pytest.raises(ActorDied):
        other.size()


@pytest.mark.processes
class TestSeveralProcesses:
    @pytest.fixture(autouse=True)
    def _only_with_processes(self, session: str) -> None:
        if session == "inline":
            pytest.skip("needs callers that wait at the same time")

    def test_a_waiting_get_takes_what_another_process_puts(self) -> None:
        shared = Queue()

        @shoal.remote(num_cpus=0)
        def produce(target: Queue, count: int) -> None:
            for item in range(count):
                target.put(item)

        done = produce.remote(shared, 50)
        assert [shared.get(timeout=60) for _ in range(50)] == list(range(50))
        shoal.get(done)

    def test_a_waiting_put_goes_on_when_there_is_room(self) -> None:
        shared = Queue(maxsize=1)

        @shoal.remote(num_cpus=0)
        def produce(target: Queue) -> None:
            for item in range(20):
                target.put(item, timeout=60)

        done = produce.remote(shared)
        assert [shared.get(timeout=60) for _ in range(20)] == list(range(20))
        shoal.get(done)

    def test_waiting_ends_with_the_time_given(self) -> None:
        shared = Queue(maxsize=1)
        with pytest.raises(Empty):
            shared.get(timeout=0.05)
        shared.put(1)
        with pytest.raises(Full):
            shared.put(2, timeout=0.05)
        assert shared.get() == 1

    def test_consumers_share_the_items(self) -> None:
        shared = Queue()

        @shoal.remote(num_cpus=0)
        def consume(source: Queue) -> list[int]:
            found = []
            while (item := source.get(timeout=60)) is not None:
                found.append(item)
            return found

        consumers = [consume.remote(shared) for _ in range(2)]
        shared.put_nowait_batch([*range(100), None, None])
        assert sorted(item for part in shoal.get(consumers) for item in part) == list(range(100))
