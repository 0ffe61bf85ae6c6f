"""`shoal doctor`: findings of our checks and of a stranger's, and the exit status."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal.cluster_utils import Cluster

SHOAL = str(Path(sysconfig.get_path("scripts")) / "shoal")


def doctor(*words: str, status: int | None = 0, limit: str = "", **variables: str) -> str:
    command = [SHOAL, "doctor", *words]
    if limit:
        command = ["bash", "-c", f'{limit}; exec "$0" "$@"', *command]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **variables}
    )
    assert status in (None, done.returncode), done.stdout + done.stderr
    return done.stdout


def findings(status: int | None = 0, **variables: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for one in json.loads(doctor("--json", status=status, **variables)):
        assert one["state"] == "good" or one["cure"], one
        found.setdefault(one["check"], []).append(one)
    return found


@pytest.fixture
def folder() -> Iterator[str]:
    """A short path: sockets are below it."""
    with tempfile.TemporaryDirectory(prefix="shoal-") as made:
        yield os.path.join(made, "s")


def test_every_plugin_with_a_check_is_asked(folder: str) -> None:
    found = findings(SHOAL_TEMP_DIR=folder)
    assert {"cuda", "machine", "metadata", "network", "plugins", "sessions", "store"} <= found.keys()
    assert "things were looked at: 0 will fail" in doctor(SHOAL_TEMP_DIR=folder)
    assert not os.path.exists(folder)  # looking changes nothing


def test_what_will_fail_is_said_with_its_cure(folder: str) -> None:
    text = doctor(status=1, SHOAL_TEMP_DIR="/tmp/" + "a" * 90)
    assert "BAD      machine: the path /tmp/aaa" in text
    assert "mend: set temp_dir to a shorter path" in text
    [store] = findings(status=1, SHOAL_OBJECT_STORE_BYTES=str(1 << 60))["store"]
    assert "lower object_store_bytes" in store["cure"]
    few = doctor(limit="ulimit -n 256", SHOAL_TEMP_DIR=folder)
    assert "warning  machine: a process may have 256 open files" in few
    [gpus] = findings(SHOAL_NUM_GPUS="64")["cuda"]
    assert gpus["state"] == "warning"
    assert findings(status=1, SHOAL_METADATA="nothing")["metadata"][0]["state"] == "bad"


def test_ports_are_tried(folder: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        texts = [one["text"] for one in findings(SHOAL_HEAD_PORT=str(port), SHOAL_TEMP_DIR=folder)["network"]]
        assert any(f"port {port} cannot be had" in text for text in texts)
        location = f"redis://127.0.0.1:{port}/0"
        found = findings(SHOAL_METADATA="redis", SHOAL_METADATA_LOCATION=location)["metadata"]
        assert "answers at" in found[-1]["text"]
    found = findings(status=1, SHOAL_METADATA="redis", SHOAL_METADATA_LOCATION=location)["metadata"]
    assert "cannot be reached" in found[-1]["text"]


def test_a_strangers_check_is_run_and_may_be_broken(tmp_path: Path) -> None:
    (tmp_path / "strangers.py").write_text(
        "from shoal.interfaces.checks import BAD, Finding\n"
        "def good(config):\n    yield Finding(BAD, 'the disk is on fire', 'put it out')\n"
        "def broken(config):\n    raise LookupError('lost')\n"
        "def odd(config):\n    yield 'text'\n"
    )
    (info := tmp_path / "strangers-1.0.dist-info").mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[shoal.checks]\nfire = strangers:good\nbroken = strangers:broken\nodd = strangers:odd\n"
    )
    found = findings(status=1, PYTHONPATH=str(tmp_path))
    assert found["fire"][0]["cure"] == "put it out"
    assert "LookupError('lost')" in found["broken"][0]["text"]
    assert "a check yields Finding, not" in found["odd"][0]["text"]


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="clusters need Linux")
def test_nodes_of_a_cluster_are_reached() -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
        other = cluster.add_node(num_cpus=1)
        folder = os.path.dirname(other.folder)
        texts = [one["text"] for one in findings(SHOAL_TEMP_DIR=folder)["network"]]
        assert sum("answers at" in text for text in texts) == 2
        cluster.remove_node(other, allow_graceful=False)
        # First it does not answer; then the head gives it up, and it is no fault any more.
        end = time.monotonic() + 60
        while True:
            network = findings(None, SHOAL_TEMP_DIR=folder)["network"]
            assert any(one["state"] != "good" for one in network)
            if any("is dead" in one["text"] for one in network):
                break
            assert time.monotonic() < end
        assert not [one for one in network if one["state"] == "bad"]
