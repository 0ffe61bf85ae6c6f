"""Hosts with addresses of their own, TLS between them, and cables that are pulled for shorter and for longer."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from hosts import Host, Network, why_not

REASON = why_not()
pytestmark = [pytest.mark.processes, pytest.mark.skipif(bool(REASON), reason=REASON)]
SECONDS = 60
TIMEOUT = 4.0  # node_timeout_seconds

BEGIN = """
import json, os, sys, time
import shoal
folder, address, temp_dir, nodes = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
shoal.init(address=address, temp_dir=temp_dir)

def wait_for(name):
    deadline = time.monotonic() + 60
    while not os.path.exists(os.path.join(folder, name)):
        assert time.monotonic() < deadline, name
        time.sleep(0.01)

def mark(name):
    open(os.path.join(folder, name), "w").close()

def here():
    return shoal.get_runtime_context().get_node_id()

def on(number):
    return shoal.NodeAffinitySchedulingStrategy(node_id=nodes[number], soft=True)
"""

WORK = """
import numpy
@shoal.remote
def make(size):
    return numpy.arange(size), here()

@shoal.remote
def total(pair):
    return int(pair[0].sum()), pair[1], here()

@shoal.remote
class Counter:
    def __init__(self): self.count = 0
    def add(self): self.count += 1; return self.count, here()

refs = [make.options(scheduling_strategy=on(a)).remote(1_000_000) for a in (0, 1, 2)]
found = [shoal.get(total.options(scheduling_strategy=on(b)).remote(refs[a])) for a, b in ((0, 1), (1, 2), (2, 0))]
counter = Counter.options(scheduling_strategy=on(2)).remote()
print(json.dumps([found, shoal.get([counter.add.remote() for _ in range(3)])]))
"""

# Three tasks and an actor of the second host are under way when it is cut off.
WAIT = """
@shoal.remote(num_cpus=1, max_retries=3)
def work(number):
    mark(f"begun-{number}-{here()}-{os.getpid()}")
    wait_for(f"go-{here()}")
    return number, here()

@shoal.remote(num_cpus=0, max_restarts=1, max_task_retries=-1)
class Keeper:
    def __init__(self): self.count = 0
    def add(self): self.count += 1; return self.count, here()

def alive():
    return sorted(node["NodeID"] for node in shoal.nodes() if node["Alive"])

keeper = Keeper.options(scheduling_strategy=on(1)).remote()
first = shoal.get(keeper.add.remote())
refs = [work.options(scheduling_strategy=on(1)).remote(number) for number in range(2)]
shoal.wait(refs, timeout=0)
wait_for("asked")
print(json.dumps([shoal.get(refs), first, shoal.get(keeper.add.remote()), alive()]))
wait_for("end")
print(json.dumps([shoal.get(refs), alive()]))
"""


@attrs.define
class Hosts:
    """A cluster with a node on each of three hosts; the first has the head."""

    hosts: list[Host]
    nodes: list[dict[str, Any]]
    folder: Path
    credentials: str
    programs: contextlib.ExitStack  # closes their pipes, also when a test fails

    def join(self, host: Host) -> Any:
        return host.shoal(
            *("start", "--address", self.nodes[0]["head_address"], "--host", host.address),
            *("--credentials", self.credentials, "--num-cpus", "2", "--num-gpus", "0"),
        )

    def drive(self, program: str) -> subprocess.Popen[str]:
        """Start a program on the first host."""
        ids = json.dumps([node["node_id"] for node in self.nodes])
        head = self.nodes[0]["head_address"]
        started = self.hosts[0].python(BEGIN + program, str(self.folder), head, self.hosts[0].folder, ids)
        return self.programs.enter_context(started)

    def mark(self, name: str) -> None:
        (self.folder / name).write_text("")

    def begun(self, number: int) -> list[Path]:
        """Return the marks of tasks that have begun on a node."""
        return list(self.folder.glob(f"begun-*-{self.nodes[number]['node_id']}-*"))


@pytest.fixture
def three_hosts(tmp_path: Path) -> Iterator[Hosts]:
    with contextlib.ExitStack() as programs, Network(3) as network:
        marks = tmp_path / "marks"
        marks.mkdir()
        hosts = network.hosts
        credentials = str(tmp_path / "credentials")
        head = hosts[0].shoal(
            *("start", "--head", "--host", hosts[0].address, "--credentials", credentials),
            *("--num-cpus", "2", "--num-gpus", "0", "--set", f"node_timeout_seconds={TIMEOUT}"),
        )
        made = Hosts(hosts, [head], marks, credentials, programs)
        made.nodes += [made.join(host) for host in hosts[1:]]
        yield made


def wait_until(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answer(program: subprocess.Popen[str]) -> Any:
    assert program.stdout is not None
    line = program.stdout.readline()
    assert line, program.stderr and program.stderr.read()
    return json.loads(line)


def finish(program: subprocess.Popen[str]) -> None:
    _, errors = program.communicate(timeout=SECONDS)
    assert program.returncode == 0, errors


def test_hosts_work_together_under_tls(three_hosts: Hosts) -> None:
    ids = [node["node_id"] for node in three_hosts.nodes]
    assert [node["address"].rpartition(":")[0] for node in three_hosts.nodes] == [
        host.address for host in three_hosts.hosts
    ]
    program = three_hosts.drive(WORK)
    found, counted = answer(program)
    assert found == [[499_999_500_000, ids[a], ids[b]] for a, b in ((0, 1), (1, 2), (2, 0))]
    assert counted == [[number, ids[2]] for number in (1, 2, 3)]
    finish(program)
    plain = (
        "import socket, sys\n"
        "host, port = sys.argv[1].split(':')\n"
        "data = b''\n"
        "with socket.create_connection((host, int(port)), timeout=20) as sock:\n"
        "    sock.sendall(b'SHOAL/1 transfer' + bytes(80))\n"
        "    try:\n"
        "        data = sock.recv(100)\n"
        "    except ConnectionResetError:\n"
        "        pass\n"
        "print('0' if b'SHOAL' in data else '1')\n"
    )
    # To a stranger a door says nothing but TLS's alert.
    stranger = three_hosts.programs.enter_context(
        three_hosts.hosts[1].python(plain, three_hosts.nodes[2]["address"])
    )
    assert answer(stranger) == 1
    finish(stranger)


def test_a_short_partition_loses_nothing(three_hosts: Hosts) -> None:
    ids = [node["node_id"] for node in three_hosts.nodes]
    program = three_hosts.drive(WAIT)
    wait_until(lambda: len(three_hosts.begun(1)) == 2)
    three_hosts.hosts[1].cut()
    try:
        for name in (f"go-{ids[1]}", "asked"):  # it ends while nobody can hear it
            three_hosts.mark(name)
        time.sleep(TIMEOUT / 4)  # the length of the partition
    finally:
        three_hosts.hosts[1].heal()
    done, first, second, alive = answer(program)
    assert done == [[0, ids[1]], [1, ids[1]]]
    assert (first, second) == ([1, ids[1]], [2, ids[1]])
    assert alive == sorted(ids)
    three_hosts.mark("end")
    assert answer(program) == [done, alive]
    finish(program)
    assert len(list(three_hosts.folder.glob("begun-*"))) == 2  # nothing ran twice


def test_a_long_partition_fences_the_node_and_its_work_runs_elsewhere(three_hosts: Hosts) -> None:
    ids = [node["node_id"] for node in three_hosts.nodes]
    program = three_hosts.drive(WAIT)
    wait_until(lambda: len(three_hosts.begun(1)) == 2)
    cut_off = three_hosts.hosts[1]
    cut_off.cut()
    for name in (f"go-{ids[0]}", f"go-{ids[2]}", "asked"):
        three_hosts.mark(name)
    done, first, second, alive = answer(program)
    assert [number for number, _ in done] == [0, 1]
    assert {node for _, node in done} <= {ids[0], ids[2]}
    assert first == [1, ids[1]]
    assert second[0] == 1  # a new life of the actor
    assert second[1] in (ids[0], ids[2])
    assert alive == sorted([ids[0], ids[2]])
    wait_until(lambda: not cut_off.processes())  # the node has ended by itself, and all that ran there
    cut_off.heal()
    again = three_hosts.join(cut_off)
    assert again["node_id"] not in ids
    three_hosts.mark("end")
    wait_until(lambda: again["node_id"] in alive_nodes(three_hosts))
    results, _ = answer(program)
    assert results == done
    finish(program)


def alive_nodes(three_hosts: Hosts) -> set[str]:
    status = three_hosts.hosts[0].shoal("status", "--address", three_hosts.nodes[0]["head_address"])
    return {node["node_id"] for node in status["nodes"] if node["state"] == "ALIVE"}


def test_what_a_node_says_after_it_was_given_up_counts_for_nothing(three_hosts: Hosts) -> None:
    ids = [node["node_id"] for node in three_hosts.nodes]
    program = three_hosts.drive(WAIT)
    wait_until(lambda: len(three_hosts.begun(1)) == 2)
    frozen = three_hosts.hosts[1]
    frozen.signal(signal.SIGSTOP)  # as a machine that sleeps: it cannot fence itself off in time
    for name in (*(f"go-{node}" for node in ids), "asked"):
        three_hosts.mark(name)
    done, _, second, alive = answer(program)
    assert {node for _, node in done} <= {ids[0], ids[2]}
    assert alive == sorted([ids[0], ids[2]])
    assert frozen.processes()
    frozen.signal(signal.SIGCONT)  # its tasks end now, and tell
    wait_until(lambda: not frozen.processes())
    three_hosts.mark("end")
    assert answer(program) == [done, alive]
    assert second[1] != ids[1]
    finish(program)
