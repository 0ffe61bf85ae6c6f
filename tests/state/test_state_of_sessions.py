"""`shoal list`, `get`, `summary` and `timeline` on a session that lives, one that was killed, and a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import shoal
from shoal.cluster_utils import Cluster
from shoal.looking import events, look
from shoal.state import list_tasks
from shoal.state.client import StateApiClient
from shoal.state.records import StateResource

SHOAL = str(Path(sysconfig.get_path("scripts")) / "shoal")
pytestmark = pytest.mark.processes
PROGRAM = """
import sys, time
import shoal

@shoal.remote
def double(value):
    return 2 * value

@shoal.remote
def fails():
    raise LookupError("nothing is there")

@shoal.remote
def asks():
    return shoal.get(double.remote(21))

@shoal.remote
def stands_still():
    time.sleep(600)

@shoal.remote
class Keeper:
    def keep(self):
        return 1

context = shoal.init(num_cpus=2, engine="native")
assert shoal.get([double.remote(i) for i in range(20)])[3] == 6
try:
    shoal.get(fails.remote())
except LookupError:
    pass
assert shoal.get(asks.remote()) == 42
keeper = Keeper.options(name="keeper").remote()
shoal.get(keeper.keep.remote())
large = shoal.put(bytes(1 << 20))
still = stands_still.options(num_cpus=0).remote()
print(context["session_dir"], flush=True)
sys.stdin.read()
shoal.shutdown()
"""


def run(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([SHOAL, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def rows(*words: str) -> Any:
    return json.loads(run(*words, "--json").stdout)


def eventually(condition: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def stops(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A driver in a process of its own, and its session's folder."""
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        stops(process)


def states(folder: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows("list", "tasks", "--session", folder, "--limit", "1000"):
        found.setdefault(row["name"], set()).add(row["state"])
    return found


def check_common(folder: str) -> None:
    """What a session tells while it lives and after it was killed."""
    found = rows("list", "tasks", "-f", "name=double", "--session", folder, "--detail")
    assert len(found) >= 20
    assert all(row["end_time_ms"] >= row["start_time_ms"] >= 0 for row in found)
    [failed] = rows("list", "tasks", "--filter", "name=fails", "--session", folder, "--detail")
    assert (failed["state"], failed["error_type"], failed["error_message"]) == (
        "FAILED",
        "LookupError",
        "nothing is there",
    )
    assert rows("get", "tasks", failed["task_id"], "--session", folder)["worker_pid"] > 0
    assert len(rows("list", "tasks", "--limit", "3", "--session", folder)) == 3
    others = rows("list", "tasks", "-f", "state!=FINISHED", "--session", folder)
    assert {row["name"] for row in others} == {"fails", "stands_still"}
    [actor] = rows("list", "actors", "-f", "name=keeper", "--session", folder)
    assert actor["class_name"] == "Keeper"
    [method] = rows("list", "tasks", "-f", f"actor_id={actor['actor_id']}", "--session", folder)
    assert method["name"] == "Keeper.keep"
    [node] = rows("list", "nodes", "--session", folder)
    assert node["resources_total"]["CPU"] == 2.0
    counts = rows("summary", "tasks", "--session", folder)["summary"]
    assert counts["double"]["state_counts"]["FINISHED"] >= 20
    kinds = {row["worker_type"] for row in rows("list", "workers", "--session", folder)}
    assert kinds == {"DRIVER", "WORKER"}
    sizes = [row["object_size"] or 0 for row in rows("list", "objects", "--session", folder)]
    assert max(sizes) >= 1 << 20


def test_a_session_that_lives_then_is_killed(program: tuple[subprocess.Popen[str], str]) -> None:
    process, folder = program
    assert states(folder)["stands_still"] == {"RUNNING"}
    check_common(folder)
    [nested] = rows("list", "tasks", "-f", "name=asks", "--session", folder)
    # What a worker calls is told by the worker, and names the call that it was made by.
    inner = eventually(
        lambda: rows("list", "tasks", "-f", f"parent_task_id={nested['task_id']}", "--session", folder)
    )
    assert [row["name"] for row in inner] == ["double"]
    assert rows("list", "actors", "--session", folder)[0]["state"] == "ALIVE"
    # By its name's end, and by its driver's process.
    for named in (folder[-6:], str(process.pid)):
        assert rows("list", "nodes", "--session", named)[0]["state"] == "ALIVE"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    eventually(lambda: not os.path.exists(os.path.join(folder, "s", "0" * 16)))
    assert states(folder)["stands_still"] == {"FAILED"}
    check_common(folder)
    assert rows("list", "actors", "--session", folder)[0]["state"] == "DEAD"
    assert rows("list", "nodes", "--session", folder)[0]["state"] == "DEAD"
    [job] = rows("list", "jobs", "--session", folder)
    assert "program.py" in job["entrypoint"]


def test_a_torn_log_is_read_and_the_loss_is_told(program: tuple[subprocess.Popen[str], str]) -> None:
    process, folder = program
    process.communicate(timeout=60)  # shutdown
    names = os.listdir(os.path.join(folder, "events"))
    with open(os.path.join(folder, "events", names[0]), "ab") as file:
        file.write(b"SEV1 torn")
    done = run("list", "tasks", "--session", folder, "--json", "--limit", "1000")
    assert len(json.loads(done.stdout)) >= 20
    assert "blocks of the log are damaged" in done.stderr


def test_formats_and_wrong_words(program: tuple[subprocess.Popen[str], str]) -> None:
    _, folder = program
    words = ("list", "tasks", "-f", "name=fails", "--session", folder)
    as_json = json.loads(run(*words, "--format", "json").stdout)
    assert yaml.safe_load(run(*words, "--format", "yaml").stdout) == as_json
    table = run(*words).stdout.splitlines()
    assert table[0].split()[:2] == ["task_id", "attempt_number"]
    assert as_json[0]["task_id"] in table[1]
    assert "COLUMN=VALUE" in run("list", "tasks", "-f", "name", status=2).stderr
    wrong = run("list", "tasks", "-f", "nothing=1", "--session", folder, status=1).stderr
    assert "'nothing' cannot be filtered by" in wrong
    assert "no task has the identifier" in run("get", "tasks", "00", "--session", folder, status=1).stderr
    assert "there is no folder" in run("list", "nodes", "--session", "/nowhere/at/all", status=1).stderr
    assert "0 sessions are meant" in run("list", "nodes", "--session", "no-such-name", status=1).stderr
    files = rows("list", "logs", "--session", folder)
    assert all(row["bytes"] >= 0 for row in files)


def test_a_trace_has_the_format_that_viewers_read(
    program: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    _, folder = program
    done = rows("timeline", str(tmp_path / "trace.json"), "--session", folder)
    trace = json.loads((tmp_path / "trace.json").read_text())
    assert done["events"] == len(trace) > 60
    threads: dict[tuple[int, int], str] = {}
    processes: dict[int, str] = {}
    for event in trace:
        assert {"ph", "name", "pid", "tid", "ts"} <= event.keys()
        assert event["ph"] in "MXsf"
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M" and event["name"] == "thread_name":
            threads[event["pid"], event["tid"]] = event["args"]["name"]
        elif event["ph"] == "M":
            processes[event["pid"]] = event["args"]["name"]
    slices = [event for event in trace if event["ph"] == "X"]
    assert {event["name"] for event in slices} >= {"double", "fails", "asks", "Keeper.keep"}
    assert all((event["pid"], event["tid"]) in threads and event["pid"] in processes for event in slices)
    ends: dict[tuple[int, int], int] = {}
    for event in sorted(slices, key=lambda event: event["ts"]):  # slices of a thread do not overlap
        place = (event["pid"], event["tid"])
        assert event["ts"] >= ends.get(place, 0) - 2
        assert event["dur"] >= 0
        ends[place] = event["ts"] + event["dur"]
    begins = {event["id"]: event for event in trace if event["ph"] == "s"}
    arrows = {event["id"]: event for event in trace if event["ph"] == "f"}
    assert begins.keys() == arrows.keys()
    assert len(arrows) == len(slices)
    starts = {(event["pid"], event["tid"], event["ts"]) for event in slices}
    for number, arrow in arrows.items():
        assert arrow["bp"] == "e"
        assert (arrow["pid"], arrow["tid"], arrow["ts"]) in starts
        assert begins[number]["ts"] <= arrow["ts"]
        assert threads[begins[number]["pid"], begins[number]["tid"]].startswith(("driver", "worker"))


@shoal.remote(resources={"second": 1})
def over_there(value: int) -> int:
    return value


@shoal.remote(resources={"second": 1})
def calls_from_there() -> list[int]:
    return shoal.get([over_there.remote(i) for i in range(3)])


def test_a_cluster_tells_what_its_other_nodes_know() -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 2}) as cluster:
        other = cluster.add_node(num_cpus=2, resources={"second": 9})
        shoal.init(address=cluster.address, temp_dir=os.path.dirname(other.folder))
        try:
            cluster.wait_for_nodes()
            assert shoal.get(calls_from_there.remote()) == [0, 1, 2]
            [outer] = list_tasks(filters=[("name", "=", "calls_from_there")])
            inner = list_tasks(filters=[("name", "=", "over_there")])
            assert {task.parent_task_id for task in inner} == {outer.task_id}
            # They were told by a worker of the other node, in that node's log.
            assert len({node.node for node in look().nodes}) == 2
            assert {task.node_id for task in inner} == {outer.node_id}
            assert outer.node_id != shoal.get_runtime_context().get_node_id()
            client = StateApiClient("auto")
            found = client.list(StateResource.NODES)
            assert sorted(bool(node.is_head_node) for node in found) == [False, True]
            assert {node.state for node in found} == {"ALIVE"}
            cluster.remove_node(other)
            gone = eventually(
                lambda: [node for node in client.list(StateResource.NODES) if node.state == "DEAD"]
            )
            assert gone[0].node_id == outer.node_id
            assert gone[0].state_message
        finally:
            shoal.shutdown()


def test_calls_that_are_not_over_say_what_they_wait_for() -> None:
    shoal.init(num_cpus=1, engine="native")
    try:
        first = shoal.remote(time.sleep).options(name="sleeps").remote(120)
        eventually(lambda: list_tasks(filters=[("state", "=", "RUNNING")]))
        waits = shoal.remote(lambda value: value)
        refs = [
            waits.options(name="for an argument").remote(first),
            waits.options(name="for a worker").remote(1),
            waits.options(name="for a machine", num_cpus=64).remote(1),
        ]
        found = {task.name: task for task in list_tasks(filters=[("state", "!=", "FINISHED")])}
        assert {name: task.state for name, task in found.items()} == {
            "sleeps": "RUNNING",
            "for an argument": "PENDING_ARGS_AVAIL",
            "for a worker": "PENDING_NODE_ASSIGNMENT",
            "for a machine": "PENDING_NODE_ASSIGNMENT",
        }
        assert found["sleeps"].worker_pid
        assert found["for an argument"].worker_id is None
        shoal.cancel(refs[1])
        [cancelled] = eventually(lambda: list_tasks(filters=[("name", "=", "for a worker")], detail=True))
        assert (cancelled.state, cancelled.error_type) == ("FAILED", "TaskCancelled")
        shoal.cancel(first, force=True)
        with pytest.raises(shoal.exceptions.TaskCancelled):
            shoal.get(refs[0], timeout=60)
        [failed] = list_tasks(filters=[("name", "=", "for an argument")])
        assert failed.state == "FAILED"
    finally:
        shoal.shutdown()


def test_too_many_calls_are_thinned_out_and_counted() -> None:
    shoal.init(num_cpus=2, engine="native", event_log_calls_per_second=200)
    try:
        quick = shoal.remote(lambda value: value).options(name="quick")
        shoal.get([quick.remote(i) for i in range(5000)])
        blocks, losses = events(look())
        kept = sum(len(block.calls) for block in blocks)
        assert 0 < kept < 2500
        assert kept + losses.sampled == 5000
        timeline = shoal.timeline()
        assert timeline is not None
        assert len(timeline) == 5000  # this process has them all
    finally:
        shoal.shutdown()


def test_the_timeline_has_what_other_processes_called() -> None:
    shoal.init(num_cpus=2, engine="native")
    try:
        inner = shoal.remote(lambda value: value).options(name="inner")

        @shoal.remote(name="outer")
        def outer(count: int) -> int:
            return sum(shoal.get([inner.remote(1) for _ in range(count)]))

        assert shoal.get([outer.remote(4) for _ in range(2)]) == [4, 4]
        found = [event["name"] for event in shoal.timeline() or ()]
        assert (found.count("inner"), found.count("outer")) == (8, 2)
    finally:
        shoal.shutdown()


def test_without_a_log_what_is_not_over_is_told_still() -> None:
    context = shoal.init(num_cpus=1, engine="native", event_log_max_bytes=0)
    try:
        gate = shoal.remote(time.sleep).options(name="sleeper")
        held = gate.remote(60)
        [found] = eventually(lambda: list_tasks(filters=[("state", "=", "RUNNING")]))
        assert found.name == "sleeper"
        shoal.cancel(held, force=True)
        assert not os.path.exists(os.path.join(context["session_dir"], "events"))
    finally:
        shoal.shutdown()
