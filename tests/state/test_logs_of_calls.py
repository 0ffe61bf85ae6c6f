"""A log tells which call printed what: found by task, by actor, by process; in text or JSON; on any node."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shoal
from shoal.cluster_utils import Cluster
from shoal.errors import TaskError
from shoal.native.daemon.logs import LogPipes
from shoal.observe.marks import MarkReader, mark
from shoal.state import get_log, list_logs
from shoal.state.failures import StateApiError
from shoal.testing.engine_gates import wait_for

pytestmark = pytest.mark.processes


@shoal.remote
def speak(text: str) -> str:
    print(f"{text} begins")  # noqa: T201
    os.system(f"echo {text} from below")
    print(f"{text} ends")  # noqa: T201
    task = shoal.get_runtime_context().get_task_id()
    assert task is not None
    return task


@shoal.remote
class Speaker:
    async def speak(self, text: str, gate: list[Any]) -> str:
        print(f"{text} begins")  # noqa: T201
        await gate[0]
        print(f"{text} ends")  # noqa: T201
        task = shoal.get_runtime_context().get_task_id()
        assert task is not None
        return task

    def whoami(self) -> tuple[str, int]:
        return shoal.get_runtime_context().get_actor_id() or "", os.getpid()


@shoal.remote
def fail(text: str) -> None:
    print("something else before" if text == "b" else "nothing of note")  # noqa: T201
    for number in range(30):
        print(text, number)  # noqa: T201
    raise ValueError(text)


@pytest.fixture(params=["text", "json"])
def session(request: pytest.FixtureRequest) -> Iterator[str]:
    with shoal.init(num_cpus=2, log_format=request.param):
        yield str(request.param)


def _lines(log_format: str, **wanted: Any) -> list[str]:
    def found() -> list[str]:
        lines = [line.rstrip("\n") for line in get_log(**wanted)]
        return [json.loads(line)["line"] for line in lines] if log_format == "json" else lines

    wait_for(lambda: any("ends" in line for line in found()), f"the log of {wanted}")
    return found()


def test_lines_of_a_task(session: str) -> None:
    tasks = [shoal.get(speak.remote(text)) for text in ("one", "two", "three")]
    for task, text in zip(tasks, ("one", "two", "three"), strict=True):
        assert _lines(session, task_id=task) == [f"{text} begins", f"{text} from below", f"{text} ends"]
    with pytest.raises(StateApiError, match="is not known"):
        get_log(task_id="00" * 16)
    assert not any("\x1e" in line for line in get_log(task_id=tasks[0]))
    assert len(list(get_log(task_id=tasks[0], tail=1))) == 1


def test_lines_of_calls_that_take_turns(session: str) -> None:
    actor = Speaker.remote()
    gate = speak.remote("gate")
    tasks = shoal.get([actor.speak.remote(text, [gate]) for text in ("a", "b")])
    for task, text in zip(tasks, ("a", "b"), strict=True):
        assert _lines(session, task_id=task) == [f"{text} begins", f"{text} ends"]
    identifier, process = shoal.get(actor.whoami.remote())
    everything = ["a begins", "a ends", "b begins", "b ends"]
    assert sorted(_lines(session, actor_id=identifier)) == everything
    assert sorted(_lines(session, pid=process)) == everything


def test_an_error_brings_the_last_lines_of_its_own_call(session: str) -> None:
    shoal.get(speak.remote("before"))
    with pytest.raises(TaskError) as raised:
        shoal.get(fail.remote("a"))
    text = str(raised.value)
    assert "It had printed, at last:\n  | a 20\n" in text
    assert "  | a 29\nTraceback" in text
    assert "before" not in text
    assert "a 19" not in text
    assert text.rstrip().endswith("ValueError: a")


def test_json_tells_the_rest() -> None:
    with shoal.init(num_cpus=1, log_format="json") as here:
        task = shoal.get(speak.remote("one"))
        _lines("json", task_id=task)
        [first, *_] = [json.loads(line) for line in get_log(task_id=task)]
        worker = re.fullmatch(r"worker-([0-9a-f]+)\.log", list_logs()["worker"][0])
        assert worker is not None
        assert first["worker"] == worker[1]
        assert first["stream"] == "stdout"
        assert first["pid"] > 0
        assert first["time"] > 1e9
        assert first["task"] == task
        assert first["actor"] == ""
        assert here["session_dir"]


def test_logs_of_another_node_and_of_a_dead_session() -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
        other = cluster.add_node(num_cpus=1, resources={"there": 1})
        cluster.connect()
        try:
            cluster.wait_for_nodes()
            task = shoal.get(speak.options(resources={"there": 1}).remote("far"))
            assert _lines("text", task_id=task) == ["far begins", "far from below", "far ends"]
            names = list_logs(node_id=other.node_id)["worker"]
            assert any("far ends\n" in get_log(filename=name, node_id=other.node_id) for name in names)
            with pytest.raises(StateApiError, match="no living node is 00"):
                list_logs(node_id="00")
        finally:
            shoal.shutdown()


def test_a_dead_sessions_folder_is_read_the_same() -> None:
    with shoal.init(num_cpus=1) as here:
        folder = here["session_dir"]
        task = shoal.get(speak.remote("gone"))
        _lines("text", task_id=task)
    assert [line.rstrip() for line in get_log(address=folder, task_id=task)][-1] == "gone ends"


class _Worker:
    worker_id, pid, label, state = b"\1" * 8, 1, "", "idle"


@given(
    calls=st.lists(st.tuples(st.sampled_from(["0a", "0b", ""]), st.text("ab\n", max_size=6)), max_size=12),
    cut=st.integers(1, 7),
)
def test_marks_survive_any_cutting(tmp_path_factory: pytest.TempPathFactory, calls: Any, cut: int) -> None:
    """However the pipe cuts what comes, each character is told to be of the call that printed it."""
    from shoal.native.transport.reactor import Reactor

    folder = tmp_path_factory.mktemp("logs")
    (folder / "logs").mkdir()
    sent: list[str] = []
    logs = LogPipes(Reactor(), str(folder), 1 << 20, 1, 1 << 20, False, lambda *a: sent.extend(a[-1]))
    worker: Any = _Worker()
    ends = logs.open(worker)
    data = "".join(mark(task, "") + text for task, text in calls).encode()
    for start in range(0, len(data), cut):
        os.write(ends[0], data[start : start + cut])
        logs.drain()
    for end in ends:
        os.close(end)
    logs.close(worker)
    expected: dict[str, str] = {}
    for task, text in calls:
        expected[task] = expected.get(task, "") + text.replace("\n", "")
    files = list((folder / "logs").iterdir())
    found: dict[str, str] = {}
    for path in files:
        for line in MarkReader().read(path.read_text().split("\n")):
            found[line.task] = found.get(line.task, "") + line.text
    assert {task: text for task, text in found.items() if text} == {
        task: text for task, text in expected.items() if text
    }
    assert "\x1e" not in "".join(sent)
