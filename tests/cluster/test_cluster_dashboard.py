"""The dashboard of a cluster: the head listens from its beginning, and other nodes are shown and looked into."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import shoal
from shoal.cluster_utils import Cluster

sys.path.append(str(Path(__file__).resolve().parents[1] / "dashboard"))
from asking import Asker

SHOAL = str(Path(sys.executable).with_name("shoal"))
SECONDS = 30.0


def until(done: Callable[[], Any]) -> Any:
    end = time.monotonic() + SECONDS
    while not (found := done()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def crunch() -> int:
    return sum(range(1000))


class Far:
    """An actor for the second node."""

    def where(self) -> str:
        sys.stdout.write("hello from afar\n")
        sys.stdout.flush()
        return shoal.get_runtime_context().get_node_id()

    def spin(self, path: str) -> None:
        while not os.path.exists(path):
            crunch()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
        cluster.add_node(num_cpus=1, resources={"far": 1})
        yield cluster


def found_of(cluster: Cluster) -> dict[str, Any]:
    """What `shoal dashboard` says, asked through the node that was started last, which is not the head."""
    folder = cluster.init_arguments()["temp_dir"]
    done = subprocess.run(
        [SHOAL, "dashboard", "--address", cluster.address, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "SHOAL_TEMP_DIR": folder},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows_of(asker: Asker, name: str) -> list[dict[str, Any]]:
    answer = asker.ask(f"/api/state/{name}").json
    return [dict(zip(answer["columns"], row, strict=True)) for _, row in answer["rows"]]


def test_actors_logs_and_stacks_of_another_node(cluster: Cluster, tmp_path: Path) -> None:
    found = found_of(cluster)
    asker = Asker(found["url"], found["token"])
    stop = tmp_path / "stop"
    cluster.connect()
    try:
        far = shoal.remote(Far).options(resources={"far": 1}, num_cpus=0).remote()
        node = shoal.get(far.where.remote(), timeout=60)
        busy = far.spin.remote(str(stop))
        assert len(rows_of(asker, "nodes")) == 2
        [head] = [one["node_id"] for one in rows_of(asker, "nodes") if one["is_head_node"]]
        assert node != head
        [actor] = until(
            lambda: [one for one in rows_of(asker, "actors") if one["pid"] and one["node_id"] == node]
        )
        asked = {"kind": "stack", "worker": str(actor["pid"]), "node": node}
        answer = asker.ask("/api/inspect", "POST", asked)
        assert answer.status == 200, answer.body
        assert "Far.spin" in answer.body.decode()
        # The same process is none of the other node's.
        assert asker.ask("/api/inspect", "POST", {**asked, "node": head}).status == 404

        def logs() -> list[dict[str, Any]]:
            files: list[dict[str, Any]] = asker.ask("/api/logs").json["files"]
            return [one for one in files if one["node"] == node and "worker" in one["name"] and one["bytes"]]

        [log] = until(logs)
        text = asker.ask(f"/api/log?node={node}&name={quote(log['name'])}").json
        assert "hello from afar" in text["lines"]
        missing = asker.ask(f"/api/log?node={node}&name={quote('../token')}")
        assert missing.status == 404
        calls = until(lambda: [one for one in rows_of(asker, "tasks") if one["name"] == "Far.where"])
        assert calls[0]["node_id"] == node
        stop.touch()
        shoal.get(busy, timeout=60)
    finally:
        shoal.shutdown()


def test_the_head_says_where_its_dashboard_is(cluster: Cluster) -> None:
    head = cluster.head_node
    assert head is not None
    told = json.loads(Path(head.folder, "node.json").read_text())
    assert told["dashboard_url"] == found_of(cluster)["url"]
    context = cluster.connect()
    try:
        assert f"http://{context.dashboard_url}" == told["dashboard_url"]
    finally:
        shoal.shutdown()


def test_options_of_the_head_are_not_a_nodes(cluster: Cluster) -> None:
    done = subprocess.run(
        [SHOAL, "start", "--address", cluster.address, "--dashboard-port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "together with --head" in done.stderr


JOINING = """
import shoal
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route
from shoal.interfaces.routes import Contribution

def routes(context):
    @shoal.remote
    def double(number):
        return 2 * number

    def work():
        context.connect()
        context.connect()
        return shoal.get(double.remote(21), timeout=60)

    async def answer(request):
        return JSONResponse(await run_in_threadpool(work))

    return Contribution(routes=[Route("/api/double", answer, methods=["POST"])])
"""


def test_routes_can_join_the_cluster(fake_dist: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dist("joining_routes", "[shoal.routes]\njoining = joining_routes:routes\n", JOINING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "distributions"))
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
        found = found_of(cluster)
        asker = Asker(found["url"], found["token"])
        answer = asker.ask("/api/double", "POST", {})
        assert (answer.status, answer.body) == (200, b"42")
        names = {one["name"] for one in rows_of(asker, "jobs")}
        assert "dashboard" in names
