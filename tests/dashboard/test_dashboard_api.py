"""The JSON API: lists that tell what has changed, counts, charts, timeline, logs, looking into processes, news."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asking import Asker
from browsing import Words, until

import shoal


@shoal.remote
def double(number: int) -> int:
    return 2 * number


@shoal.remote(max_retries=0)
def fail() -> None:
    raise ValueError("not today")


@pytest.fixture(scope="module")
def words(asker: Asker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An actor that is busy, in a session whose other calls are over."""
    stop = tmp_path_factory.mktemp("stop") / "stop"
    assert shoal.get([double.remote(i) for i in range(50)], timeout=60) == [2 * i for i in range(50)]
    with pytest.raises(ValueError, match="not today"):
        shoal.get(fail.remote(), timeout=60)
    actor = shoal.remote(Words).options(name="words", num_cpus=0).remote()
    shoal.get([actor.add.remote(1) for _ in range(3)], timeout=60)
    ref = actor.spin.remote(str(stop))
    yield actor
    stop.touch()
    shoal.get(ref, timeout=60)


def rows_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(answer["columns"], row, strict=True)) for _, row in answer["rows"]]


def test_a_list_and_then_only_what_has_changed(asker: Asker, words: Any) -> None:
    def whole() -> dict[str, Any] | None:
        answer = asker.ask("/api/state/tasks").json
        return answer if sum(row["name"] == "double" for row in rows_of(answer)) >= 50 else None

    answer = until(whole)
    assert answer["whole"]
    assert answer["total"] == len(answer["rows"])
    states = {row["name"]: row["state"] for row in rows_of(answer)}
    assert states["fail"] == "FAILED"
    assert states["double"] == "FINISHED"
    shoal.get(double.options(name="later").remote(3), timeout=60)

    def changed() -> list[str]:
        later = asker.ask(f"/api/state/tasks?since={answer['version']}").json
        assert not later["whole"]
        assert len(later["rows"]) < 10
        return [row["name"] for row in rows_of(later) if row["state"] == "FINISHED"]

    until(lambda: "later" in changed())
    for unknown in ("", "x", "00000000.1", f"{answer['version']}x"):
        assert asker.ask(f"/api/state/tasks?since={unknown}").json["whole"]


@pytest.mark.parametrize(
    "name", ["actors", "events", "groups", "jobs", "nodes", "objects", "tasks", "workers"]
)
def test_every_list_is_there(asker: Asker, words: Any, name: str) -> None:
    answer = asker.ask(f"/api/state/{name}").json
    assert len({key for key, _ in answer["rows"]}) == len(answer["rows"])
    assert answer["columns"]
    if name != "groups":
        assert answer["rows"]


def test_counts_functions_and_charts_agree(asker: Asker, words: Any) -> None:
    def told() -> dict[str, Any] | None:
        found = asker.ask("/api/functions").json["functions"]
        by_name = {one["name"]: one for one in found}
        return by_name if {"double", "fail", "Words.spin"} <= set(by_name) else None

    functions = until(told)
    assert functions["double"]["finished"] >= 50
    assert functions["fail"]["failed"] == 1
    assert "not today" in functions["fail"]["error"]
    assert until(lambda: asker.ask("/api/functions").json["functions"][0]["name"] == "Words.spin")
    overview = asker.ask("/api/overview").json
    assert overview["is_live"]
    assert overview["tasks"]["FAILED"] == 1
    assert overview["tasks"]["FINISHED"] >= 50
    assert overview["actors"] == {"ALIVE": 1}
    assert {one["name"]: one["total"] for one in overview["resources"]}["CPU"] == 2
    series = asker.ask("/api/series").json
    assert sum(series["tasks"]["finished"]) == overview["tasks"]["FINISHED"]
    [node] = series["nodes"].values()
    assert len(node["t"]) == len(node["memory_used_bytes"]) >= 1
    assert node["memory_used_bytes"][-1] > 0
    later = asker.ask(f"/api/series?since={time.time() + 100}").json
    assert later["tasks"]["t"] == []


def test_slices_of_a_lane_do_not_overlap(asker: Asker, words: Any) -> None:
    found = asker.ask("/api/timeline").json
    assert "double" in found["names"]
    rows: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for lane, row, name, begin, end, _, task in found["slices"]:
        assert 0 <= begin <= end
        assert found["names"][name]
        assert len(task) == 32
        assert row < found["lanes"][lane]["rows"]
        rows.setdefault((lane, row), []).append((begin, end))
    for slices in rows.values():
        assert all(one[1] <= other[0] + 2e-6 for one, other in itertools.pairwise(slices))
    assert len(asker.ask("/api/timeline?limit=3").json["slices"]) == 3


def test_logs_and_searches_in_them(asker: Asker, words: Any) -> None:
    files = asker.ask("/api/logs").json["files"]
    [mine] = [one for one in files if one["name"].startswith("worker") and one["bytes"]]
    where = f"node={mine['node']}&name={mine['name']}"
    answer = asker.ask(f"/api/log?{where}&lines=2").json
    assert answer["lines"] == ["the total is 2", "the total is 3"]
    found = asker.ask(f"/api/log?{where}&search=IS%201").json
    assert found["lines"] == ["the total is 1"]
    assert found["matches"] == 1
    for name in ("../token", "token", "", "/etc/passwd", "worker-%00"):
        assert asker.ask(f"/api/log?node={mine['node']}&name={name}").status == 404
    assert asker.ask(f"/api/log?node=0011223344556677&name={mine['name']}").status == 404


def worker_of_actor(asker: Asker) -> str:
    [actor] = rows_of(asker.ask("/api/state/actors").json)
    return str(actor["pid"])


def test_the_stack_of_a_worker_shows_what_it_does(asker: Asker, words: Any) -> None:
    answer = asker.ask("/api/inspect", "POST", {"kind": "stack", "worker": worker_of_actor(asker)})
    assert answer.status == 200, answer.body
    assert "spin" in answer.body.decode()
    daemon = asker.ask("/api/inspect", "POST", {"kind": "stack", "worker": "daemon"})
    assert "Daemon.run" in daemon.body.decode()


def test_a_flame_graph_has_the_busy_function(asker: Asker, words: Any) -> None:
    asked = {"kind": "flame", "worker": worker_of_actor(asker), "seconds": 1}
    answer = asker.ask("/api/inspect", "POST", asked)
    assert answer.status == 200, answer.body
    stacks = answer.json["stacks"]
    assert sum(count for stack, count in stacks if "crunch" in stack) > 20


@pytest.mark.slow
def test_a_memory_profile_or_why_there_is_none(asker: Asker, words: Any) -> None:
    asked = {"kind": "memory", "worker": worker_of_actor(asker), "seconds": 1}
    answer = asker.ask("/api/inspect", "POST", asked)
    if shutil.which("gdb") or shutil.which("lldb"):
        assert answer.status == 200, answer.body
        assert sum(size for _, size in answer.json["stacks"]) > 0
    else:
        assert answer.status == 409
        assert "gdb" in answer.json["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"kind": "stack", "worker": "1"}, 404),  # a process that is none of the session's
        ({"kind": "stack", "worker": str(os.getppid())}, 404),
        ({"kind": "stack", "worker": "daemon", "node": "0011223344556677"}, 404),
        ({"kind": "stack", "worker": "daemon", "node": "no node"}, 404),
        ({"kind": "no kind", "worker": "daemon"}, 400),
        ({"kind": "flame", "worker": "daemon", "seconds": 1e9}, 400),
        ({"kind": "flame", "worker": "daemon", "seconds": True}, 400),
        ({"kind": "stack"}, 400),
        ({"kind": "stack", "worker": 7}, 400),
        ([], 400),
        ("stack", 400),
    ],
)
def test_what_cannot_be_looked_into_is_told(asker: Asker, body: Any, status: int) -> None:
    answer = asker.ask("/api/inspect", "POST", body)
    assert answer.status == status, answer.body
    assert answer.json["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/state/nothing",
        "/api/series?since=x",
        "/api/series?since=nan",
        "/api/series?since=inf",
        "/api/timeline?limit=0",
        "/api/timeline?limit=1e99",
        "/api/timeline?begin=-5",
        "/api/log?lines=1.5e9&name=x",
        "/api/pages/%2e%2e",
        "/api/state/%00",
    ],
)
def test_bad_questions_are_refused_in_words(asker: Asker, path: str) -> None:
    answer = asker.ask(path)
    assert answer.status in (400, 404), answer.body
    assert answer.json["message"]


def test_pages_of_libraries_that_have_nothing_to_tell_say_so(asker: Asker) -> None:
    assert "No experiment was run" in asker.ask("/api/pages/tune").json["text"]
    assert "Nothing is served" in asker.ask("/api/pages/serve").json["text"]
    assert "Nothing was trained" in asker.ask("/api/pages/train").json["text"]
    assert "No dataset was executed" in asker.ask("/api/pages/data").json["text"]


def events_of(connection: http.client.HTTPConnection, asker: Asker, count: int) -> list[dict[str, Any]]:
    connection.request("GET", "/api/news", headers={"Authorization": f"Bearer {asker.token}"})
    answer = connection.getresponse()
    assert answer.getheader("content-type", "").startswith("text/event-stream")
    found = []
    while len(found) < count:
        line = answer.readline()
        if line.startswith(b"data: "):
            found.append(json.loads(line[6:]))
    return found


def test_news_come_once_a_second_for_all(asker: Asker, words: Any) -> None:
    connections = [http.client.HTTPConnection(asker.host, timeout=30) for _ in range(5)]
    try:
        began = time.monotonic()
        told = [events_of(connection, asker, 3) for connection in connections]
        took = time.monotonic() - began
    finally:
        for connection in connections:
            connection.close()
    assert all(one[0]["session"] == told[0][0]["session"] for one in told)
    versions = [event["version"] for events in told for event in events]
    assert all(events[0]["version"] < events[-1]["version"] for events in told)
    # One look a second, however many follow.
    assert max(versions) - min(versions) <= took + 3


def test_browsers_beyond_a_bound_are_refused(asker: Asker) -> None:
    from shoal.dashboard.api.live import MOST_BROWSERS

    connections = [http.client.HTTPConnection(asker.host, timeout=30) for _ in range(MOST_BROWSERS)]
    try:
        for connection in connections:
            events_of(connection, asker, 1)
        answer = asker.ask("/api/news")
        assert answer.status == 503
        assert "too many" in answer.json["message"]
    finally:
        for connection in connections:
            connection.close()
    until(lambda: not refused(asker))


def refused(asker: Asker) -> bool:
    connection = http.client.HTTPConnection(asker.host, timeout=30)
    try:
        connection.request("GET", "/api/news", headers={"Authorization": f"Bearer {asker.token}"})
        return connection.getresponse().status == 503
    finally:
        connection.close()
