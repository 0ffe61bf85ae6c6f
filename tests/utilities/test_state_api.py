"""The state API: lists, filters, single records, summaries, logs."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import shoal
from shoal.state.failures import ServerUnavailable, StateApiError
from shoal.state.records import Humanify, StateResource, TaskState, dict_to_state
from shoal.state.requests import ListApiOptions
from shoal.util import state

pytestmark = pytest.mark.usefixtures("session")


@shoal.remote
def seen_by_state(value: int) -> int:
    return value


@shoal.remote
def fails_for_state() -> None:
    raise KeyError("no")


@shoal.remote
class Watched:
    def method(self) -> int:
        return 1


def test_actors_and_filters() -> None:
    actor = Watched.options(name="watched-one").remote()
    shoal.get(actor.method.remote())
    [found] = state.list_actors(filters=[("name", "=", "watched-one")])
    assert (found.class_name, found.state, found["ray_namespace"]) == (
        "Watched",
        "ALIVE",
        shoal.get_runtime_context().namespace,
    )
    assert found.is_detached is None
    assert state.list_actors(filters=[("name", "=", "watched-one")], detail=True)[0].is_detached is False
    assert state.get_actor(found.actor_id).name == "watched-one"  # type: ignore[union-attr]
    assert state.get_actor("00" * 16) is None
    assert state.summarize_actors()["cluster"]["summary"]["Watched"]["state_counts"]["ALIVE"] >= 1
    del actor


def test_tasks_that_have_ended() -> None:
    shoal.get([seen_by_state.remote(value) for value in range(3)])
    with pytest.raises(KeyError):
        shoal.get(fails_for_state.remote())
    found = state.list_tasks(filters=[("name", "=", "seen_by_state")], limit=1000)
    assert {task.state for task in found} == {"FINISHED"}
    [failed] = state.list_tasks(
        filters=[("state", "=", "FAILED"), ("name", "=", "fails_for_state")], detail=True
    )
    assert failed.end_time_ms >= failed.start_time_ms  # type: ignore[operator]
    assert state.get_task(failed.task_id).name == "fails_for_state"  # type: ignore[union-attr]
    counts = state.summarize_tasks()["cluster"]["summary"]["fails_for_state"]["state_counts"]
    assert counts == {"FAILED": 1}


def test_nodes_workers_jobs_and_objects() -> None:
    shoal.get(seen_by_state.remote(1))
    [node] = state.list_nodes()
    assert node.state == "ALIVE"
    assert node.node_id == shoal.get_runtime_context().get_node_id()
    assert state.get_node(node.node_id).resources_total == node.resources_total  # type: ignore[union-attr]
    assert "DRIVER" in {worker.worker_type for worker in state.list_workers(limit=1000)}
    [job] = state.list_jobs()
    assert job.job_id == shoal.get_runtime_context().get_job_id()
    ref = shoal.put(1)
    [found] = state.get_objects(ref.hex())
    assert found.task_status == "FINISHED"
    assert state.summarize_objects()["cluster"]["total_objects"] >= 1


def test_placement_groups() -> None:
    group = shoal.placement_group([{"CPU": 1}], name="for-state")
    assert group.wait(30)
    [found] = state.list_placement_groups(filters=[("name", "=", "for-state")], detail=True)
    assert found.state == "CREATED"
    assert found.bundles[0]["unit_resources"] == {"CPU": 1.0}  # type: ignore[index]
    shoal.remove_placement_group(group)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"limit": 0}, ValueError, "from 1 to 10000"),
        ({"filters": [("name", "<", 1)]}, ValueError, "'=' or '!='"),
        ({"filters": [("nothing", "=", 1)]}, ValueError, "cannot be filtered by"),
        ({"filters": ["name=a"]}, ValueError, "a filter is"),
        ({"address": "10.0.0.1:1"}, StateApiError, "10.0.0.1:1"),
    ],
)
def test_wrong_questions(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        state.list_tasks(**arguments)


def test_a_limit_is_told_or_kept() -> None:
    shoal.get([seen_by_state.remote(value) for value in range(5)])
    with pytest.raises(StateApiError, match="more than limit=2"):
        state.list_tasks(limit=2)
    assert len(state.list_tasks(limit=2, raise_on_missing_output=False)) == 2


def test_records_as_mappings() -> None:
    record = dict_to_state({"task_id": "a", "state": "FINISHED"}, StateResource.TASKS)
    assert isinstance(record, TaskState)
    record["name"] = "f"
    assert record.asdict()["name"] == "f"
    assert "events" in TaskState.columns() - TaskState.base_columns()
    with pytest.raises(KeyError, match="no column 'nothing'"):
        _ = record["nothing"]
    assert Humanify.memory(3 * 2**20) == "3.000 MiB"
    assert ListApiOptions(filters=[("a", "=", 1), ("a", "=", 2)]).has_conflicting_filters()


@pytest.mark.processes
def test_logs(session: str) -> None:
    if session == "inline":
        with pytest.raises(StateApiError, match="no log files"):
            state.list_logs()
        return

    @shoal.remote
    def speak() -> str:
        print("a line for the log")  # noqa: T201
        return shoal.get_runtime_context().get_worker_id()

    worker = shoal.get(speak.remote())
    [name] = state.list_logs(glob_filter=f"*{worker}*")["worker"]
    end = time.monotonic() + 30
    while not (lines := list(state.get_log(filename=name))) and time.monotonic() < end:
        threading.Event().wait(0.05)
    assert lines == ["a line for the log\n"]
    assert list(state.get_log(filename=name, tail=0)) == []
    with pytest.raises(StateApiError, match="there is no log file"):
        state.get_log(filename="../token")
    with pytest.raises(StateApiError, match="process 1 is not known"):
        state.get_log(pid=1)


def test_looking_does_not_start_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    from shoal.interfaces.current import current

    monkeypatch.setattr(current, "engine", None)
    with pytest.raises(ServerUnavailable, match="init"):
        state.list_nodes()
