"""A node's metrics over HTTP: who may ask, what is told, and that a scraper which misbehaves harms nobody."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import shoal
from shoal.observe.dashboards import dashboard, expression
from shoal.observe.metrics import METRICS
from shoal.util.metrics import Counter, Gauge, Histogram, flush

SHOAL = str(Path(sysconfig.get_path("scripts")) / "shoal")
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    context = shoal.init(num_cpus=2, engine="native", metrics_port=0)
    yield context["session_dir"]
    shoal.shutdown()


def target(folder: str) -> tuple[str, int]:
    [one] = json.loads(Path(folder, "prom_metrics_service_discovery.json").read_text())
    assert one["labels"]["session"] == os.path.basename(folder)
    host, _, port = one["targets"][0].partition(":")
    assert host == "127.0.0.1"
    return host, int(port)


def ask(
    folder: str, path: str = "/metrics", token: str | None = None, method: str = "GET"
) -> tuple[int, str]:
    host, port = target(folder)
    if token is None:
        token = Path(folder, "metrics_token").read_text()
    request = urllib.request.Request(
        f"http://{host}:{port}{path}", headers={"Authorization": f"Bearer {token}"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(folder: str) -> list[Any]:
    status, text = ask(folder)
    assert status == 200, text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(folder: str, name: str, **labels: str) -> float:
    return sum(
        one.value for one in samples(folder) if one.name == name and labels.items() <= one.labels.items()
    )


def eventually(folder: str, wanted: float, name: str, **labels: str) -> None:
    end = time.monotonic() + 30
    while (found := value(folder, name, **labels)) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.1)


@shoal.remote
def counted(number: int) -> int:
    if number == 3:
        raise ValueError(number)
    return number


@shoal.remote
class Lives:
    def ready(self) -> bool:
        return True


def test_every_metric_of_the_table_is_told_and_no_other(folder: str) -> None:
    actor = Lives.remote()
    group = shoal.placement_group([{"CPU": 1}])
    assert shoal.get(actor.ready.remote())
    assert group.wait(30)
    found = {one.name for one in samples(folder)}
    ours = {spec.name for spec in METRICS}
    assert {name for name in found if name.startswith("shoal_")} == ours
    for one in samples(folder):
        if one.name in ours:
            [spec] = [spec for spec in METRICS if spec.name == one.name]
            assert one.labels.keys() == {"session", "node", *spec.labels}
    shoal.remove_placement_group(group)
    eventually(folder, 1, "shoal_tasks_ended_total", outcome="finished")


def test_calls_are_counted_by_outcome(folder: str) -> None:
    before = {
        outcome: value(folder, "shoal_tasks_ended_total", outcome=outcome)
        for outcome in ("finished", "failed")
    }
    refs = [counted.remote(i) for i in range(50)]
    shoal.wait(refs, num_returns=50)
    eventually(folder, before["finished"] + 49, "shoal_tasks_ended_total", outcome="finished")
    eventually(folder, before["failed"] + 1, "shoal_tasks_ended_total", outcome="failed")
    held = shoal.remote(time.sleep).remote(60)
    eventually(folder, 1, "shoal_tasks", state="running")
    shoal.cancel(held, force=True)
    eventually(folder, 0, "shoal_tasks", state="running")


def test_numbers_of_a_program_come_along(folder: str) -> None:
    Counter("orders", "Orders taken.", tag_keys=("shop",)).inc(3, tags={"shop": 'the "old" one'})
    Histogram("seconds_waited", boundaries=[1, 10]).observe(5)
    Gauge("length").set(4)
    Gauge("shoal_nodes").set(99)  # a name of ours: left out
    flush()
    assert value(folder, "orders_total", shop='the "old" one') == 3
    assert value(folder, "seconds_waited_bucket", le="1.0") == 0
    assert value(folder, "seconds_waited_bucket", le="10.0") == 1
    assert value(folder, "seconds_waited_sum") == 5
    assert value(folder, "length") == 4
    assert value(folder, "shoal_nodes") == 1


def test_only_who_has_the_token_is_told(folder: str) -> None:
    assert ask(folder, token="")[0] == 401
    assert ask(folder, token="0" * 64)[0] == 401
    session_token = Path(folder, "token").read_bytes()
    assert ask(folder, token=session_token.hex())[0] == 401  # it is another one
    assert Path(folder, "metrics_token").stat().st_mode & 0o077 == 0
    assert ask(folder, "/")[0] == 404
    assert ask(folder, "/../token")[0] == 404
    assert ask(folder, method="POST")[0] == 405


def test_scrapers_that_hang_or_flood_harm_nobody(folder: str) -> None:
    silent = [socket.create_connection(target(folder), timeout=20) for _ in range(20)]
    assert shoal.get([counted.remote(1) for _ in range(100)], timeout=15) == [1] * 100
    for one in silent:
        one.settimeout(20)
        assert one.recv(100) == b""  # cut off
        one.close()
    with socket.create_connection(target(folder), timeout=20) as noisy:
        noisy.sendall(b"GET " + b"a" * 100_000)
        answer = noisy.recv(100)
    assert answer.startswith(b"HTTP/1.1 405")
    assert ask(folder)[0] == 200


def test_the_command_shows_them_and_configures_prometheus(folder: str) -> None:
    words = {"session": ("--session", os.path.basename(folder))}

    def run(*command: str) -> str:
        done = subprocess.run(
            [SHOAL, "metrics", *command, *words["session"]],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "shoal_processes_connected{" in run("show")
    [scrape] = json.loads(run("prometheus", "--json"))["scrape_configs"]
    assert scrape["authorization"]["credentials_file"] == os.path.join(folder, "metrics_token")
    [files] = [one["files"] for one in scrape["file_sd_configs"]]
    assert files == [os.path.join(folder, "prom_metrics_service_discovery.json")]
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(run("prometheus"))["scrape_configs"][0] == scrape


def test_dashboards_have_a_panel_for_every_metric(tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    subprocess.run([SHOAL, "metrics", "dashboards", "--out", str(out)], check=True, timeout=60)
    made = json.loads((out / "shoal.json").read_text())
    assert made == json.loads(json.dumps(dashboard()))
    panels = [panel for panel in made["panels"] if panel["type"] == "timeseries"]
    asked = [panel["targets"][0]["expr"] for panel in panels]
    assert asked == [expression(spec) for spec in sorted(METRICS, key=lambda one: _groups().index(one.group))]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    for spec in METRICS:
        assert re.fullmatch(r"shoal_[a-z0-9_]+", spec.name)
        assert (spec.kind == "counter") == spec.name.endswith("_total")


def _groups() -> list[str]:
    return list(dict.fromkeys(spec.group for spec in METRICS))


def test_a_taken_port_costs_the_metrics_and_not_the_node(folder: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        program = (
            f"import os, shoal; c = shoal.init(num_cpus=1, metrics_port={port}); "
            "print(shoal.get(shoal.remote(abs).remote(-1)), "
            "os.path.exists(os.path.join(c['session_dir'], 'metrics_token'))); shoal.shutdown()"
        )
        done = subprocess.run(
            [os.path.join(sysconfig.get_path("scripts"), "python"), "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout == "1 False\n", done.stderr
