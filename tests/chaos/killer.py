"""A seeded killer of workers, nodes and the head, and workloads that must end with the right answer all the same.

python tests/chaos/killer.py --seconds 120 --seed 7      # what `make chaos` runs
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import shoal
from shoal.cluster_utils import Cluster, ClusterNode

ANSWER_SECONDS = 120  # for one round of a workload, faults included


@shoal.remote(max_retries=-1)
def square(number: int) -> int:
    time.sleep(0.002)
    return number * number


@shoal.remote(max_retries=-1)
def combine(*numbers: int) -> int:
    return sum(numbers)


@shoal.remote(max_retries=-1)
def part(index: int, parts: int) -> list[Any]:
    """One block of a shuffle: an array for each receiver, too large to travel inline."""
    return [np.full(30_000, index * parts + receiver) for receiver in range(parts)]


@shoal.remote(max_retries=-1)
def gather(receiver: int, *blocks: Any) -> int:
    return int(sum(int(block[receiver][0]) for block in blocks))


@shoal.remote(max_restarts=-1, max_task_retries=-1, num_cpus=0)
class Squarer:
    def square(self, number: int) -> int:
        return number * number


@shoal.remote(durable=True, exactly_once=True, num_cpus=0)
class Ledger:
    """Every entry must be there once, in its caller's order."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []

    def add(self, caller: str, number: int) -> int:
        self.entries.append((caller, number))
        return len(self.entries)

    def all(self) -> list[tuple[str, int]]:
        return self.entries


def map_reduce(rng: random.Random) -> None:
    """A tree of tasks."""
    numbers = [rng.randrange(1000) for _ in range(60)]
    squares = [square.remote(number) for number in numbers]
    halves = [combine.remote(*squares[start::4]) for start in range(4)]
    assert shoal.get(combine.remote(*halves), timeout=ANSWER_SECONDS) == sum(n * n for n in numbers)


def actors(rng: random.Random) -> None:
    """Calls to actors that restart."""
    several = [Squarer.remote() for _ in range(3)]
    calls = [(rng.randrange(len(several)), rng.randrange(1000)) for _ in range(60)]
    refs = [several[which].square.remote(number) for which, number in calls]
    assert shoal.get(refs, timeout=ANSWER_SECONDS) == [number * number for _, number in calls]


def shuffle(rng: random.Random) -> None:
    """Every receiver reads from every block: objects cross nodes, and are made again when one dies."""
    parts = 5
    blocks = [part.remote(index, parts) for index in range(parts)]
    totals = shoal.get(
        [gather.remote(receiver, *blocks) for receiver in range(parts)], timeout=ANSWER_SECONDS
    )
    assert totals == [sum(index * parts + receiver for index in range(parts)) for receiver in range(parts)]


def ledgers(rng: random.Random) -> None:
    """Durable actors called by several threads at once: nothing is applied twice, or forgotten."""
    books = [Ledger.remote() for _ in range(2)]
    count = rng.randrange(100, 400)

    def write(index: int) -> list[list[int]]:
        refs = [[book.add.remote(f"{index}", number) for book in books] for number in range(count)]
        return [shoal.get(pair, timeout=ANSWER_SECONDS) for pair in refs]

    with ThreadPoolExecutor(3) as writers:
        answers = list(writers.map(write, range(3)))
    for which, book in enumerate(books):
        entries = shoal.get(book.all.remote(), timeout=ANSWER_SECONDS)
        assert len(entries) == 3 * count
        for index in range(3):
            assert [number for name, number in entries if name == f"{index}"] == list(range(count))
            for number, positions in enumerate(answers[index]):
                assert entries[positions[which] - 1] == (f"{index}", number)


WORKLOADS: tuple[Callable[[random.Random], None], ...] = (map_reduce, actors, shuffle, ledgers)


class Killer:
    """Injects faults into a cluster from a thread, one after the other, as its seed says; spares the driver's node."""

    def __init__(self, cluster: Cluster, spared: ClusterNode, seed: int) -> None:
        self._cluster = cluster
        self._spared = spared
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="killer", daemon=True)
        self.faults: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; raises what went wrong with the killing itself."""
        self._stop.set()
        self._thread.join(60)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._rng.uniform(0.5, 2.0)):
                kind = self._rng.choice(["worker", "worker", "worker", "node", "head"])
                getattr(self, f"_kill_{kind}")()
                self.faults[kind] += 1
        except BaseException as error:  # the test is to fail with it
            self.failure = error

    def _kill_worker(self) -> None:
        node = self._rng.choice(self._cluster.worker_nodes)
        workers = _grandchildren(node.pid)
        if workers:
            _kill(self._rng.choice(workers))

    def _kill_node(self) -> None:
        victims = [node for node in self._cluster.worker_nodes if node != self._spared]
        victim = self._rng.choice(victims)
        self._cluster.remove_node(victim, allow_graceful=False)
        self._cluster.add_node(num_cpus=2)

    def _kill_head(self) -> None:
        head = self._cluster.head_node
        assert head is not None
        _kill(head.pid)
        self._cluster.restart_head()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _grandchildren(pid: int) -> list[int]:
    """Return the workers of a daemon: the children of its zygote."""
    return sorted(worker for zygote in _children(pid) for worker in _children(zygote))


def _children(pid: int) -> list[int]:
    found = []
    for thread in os.listdir(f"/proc/{pid}/task") if os.path.isdir(f"/proc/{pid}/task") else []:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
        except OSError:
            continue
    return found


def run(seconds: float, seed: int, say: Callable[[str], None]) -> Counter[str]:
    """Run workloads under fire for a while; return the faults injected. Raises what a workload raises."""
    rng = random.Random(seed)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Cluster() as cluster:
        cluster.add_node(num_cpus=0, head_port=port)
        spared = cluster.add_node(num_cpus=2)
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        shoal.init(address=spared.address, temp_dir=os.path.dirname(spared.folder), log_to_driver=False)
        killer = Killer(cluster, spared, seed)
        rounds: Counter[str] = Counter()
        try:
            killer.start()
            end = time.monotonic() + seconds
            while time.monotonic() < end and killer.failure is None:
                workload = rng.choice(WORKLOADS)
                workload(rng)
                rounds[workload.__name__] += 1
        finally:
            try:
                killer.stop()
            finally:
                shoal.shutdown()
    say(f"seed {seed}: {dict(rounds)} rounds were right; survived {dict(killer.faults)}")
    return killer.faults


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    run(given.seconds, given.seed, lambda text: print(text, file=sys.stderr))  # noqa: T201


if __name__ == "__main__":
    main()
