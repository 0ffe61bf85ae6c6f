"""`shoal up`, `exec`, `submit`, `down`: a cluster from its file, on this machine and over SSH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from real_servers import Sshd

from shoal.autoscaler import sdk
from shoal.errors import ConfigError

pytestmark = pytest.mark.processes
SECONDS = 120
PROGRAM = """
import sys
import shoal

shoal.init()

@shoal.remote(num_cpus=2)
def square(x):
    return x * x

print(sys.argv[1:], shoal.get([square.remote(x) for x in range(3)], timeout=60))
"""


def run(*words: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "shoal.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, for the sockets of sessions."""
    path = tempfile.mkdtemp(prefix="u-")
    yield Path(path)
    shutil.rmtree(path, ignore_errors=True)


def description(folder: Path, **head: Any) -> dict[str, Any]:
    return {
        "name": "demo",
        "idle_seconds": 30,
        "interval_seconds": 0.2,
        "provider": {"kind": "process", "folder": str(folder / "machines"), "temp_dir": str(folder)},
        "head": {
            "port": 0,
            "num_cpus": 0,
            "folder": str(folder / "home"),
            "settings": {"temp_dir": str(folder)},
            **head,
        },
        "node_types": {"pair": {"resources": {"CPU": 2}, "max": 2}},
    }


def write(folder: Path, described: Mapping[str, Any]) -> str:
    path = folder / "cluster.json"
    path.write_text(json.dumps(described))
    return str(path)


@pytest.fixture
def path(folder: Path) -> Iterator[str]:
    """The file of a cluster, which is ended afterwards."""
    path = write(folder, description(folder))
    yield path
    run("down", path)


def living(folder: Path) -> list[str]:
    """Processes that work for the clusters of a folder."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            try:
                words = Path("/proc", name, "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(folder) in words and "shoal" in words:
                found.append(words.replace("\0", " "))
    return found


def test_a_cluster_comes_up_works_and_goes(folder: Path, path: str) -> None:
    found = json.loads(run("up", "--json", path))
    assert found["started"]
    again = json.loads(run("up", "--json", path))
    assert not again["started"]
    assert again["address"] == found["address"]
    assert "was up already" in run("up", path)
    program = folder / "program.py"
    program.write_text(PROGRAM)
    assert "['--level', '3'] [0, 1, 4]" in run("submit", path, str(program), "--level", "3")
    assert found["address"] in run("exec", path, "echo $SHOAL_ADDRESS")
    assert "Autoscaler 'demo'" in run("exec", path, "shoal", "status")
    run("exec", path, "exit 7", status=7)
    said = json.loads(run("exec", "--json", path, "echo one; echo two >&2; exit 3", status=3))
    assert said == {"status": 3, "output": "one\ntwo\n"}
    assert json.loads(run("attach", "--json", path))["SHOAL_ADDRESS"] == found["address"]
    secret = (folder / "home" / "credentials").read_text()
    assert (folder / "home" / "credentials").stat().st_mode & 0o777 == 0o600
    for said in (json.dumps(found), run("exec", path, "shoal", "status", "--json")):
        assert not any(line in said for line in secret.splitlines() if len(line) > 30)
    assert json.loads(run("down", "--json", path))["machines"] >= 1
    assert living(folder) == []
    assert "is not up" in run("exec", path, "true", status=1)


def test_the_file_that_changed_is_taken_over(folder: Path, path: str) -> None:
    run("up", path)
    described = description(folder)
    described["node_types"]["pair"]["min"] = 1
    write(folder, described)
    run("up", path)
    wait = "until shoal status | grep -q '1/1'; do sleep 0.2; done"
    run("exec", path, wait)
    assert json.loads(run("down", "--workers-only", "--keep-min", "--json", path))["machines"] == 0


def test_what_is_wrong_is_said_before_anything_starts(folder: Path) -> None:
    described = description(folder)
    for changes, message in [
        ({"idle_second": 1}, "did you mean 'idle_seconds'"),
        ({"provider": {"kind": "nosuch"}}, "no node provider is named 'nosuch'"),
        ({"provider": {"kind": "process", "foldr": "x"}}, "no option 'foldr'"),
        ({"policy": "nosuch"}, "no scaling policy is named 'nosuch'"),
        ({"policy_options": {"x": 1}}, "no option"),
        ({"setup_commands": ["echo broken >&2; exit 3"]}, "broken"),
        ({"head": {**described["head"], "settings": {"nosuch": 1}}}, "nosuch"),
    ]:
        said = run("up", write(folder, {**described, **changes}), status=1)
        assert message in said
        assert "Traceback" not in said
    assert living(folder) == []
    path = write(folder, described)
    assert "--keep-min goes with" in run("down", "--keep-min", path, status=2)
    assert "cannot be read" in run("up", str(folder / "none.toml"), status=1)
    command = ["start", "--head", "--port", "0", "--set", f"autoscaling={folder}/none.toml"]
    assert "none.toml" in run(*command, "--temp-dir", str(folder), status=1)


@pytest.mark.slow
def test_a_head_over_ssh(folder: Path) -> None:
    server = Sshd(folder)
    server.start()
    head = {
        "host": "127.0.0.1",
        "ssh_port": server.port,
        "identity_file": str(server.identity),
        "known_hosts": str(server.known_hosts),
        "python": sys.executable,
    }
    path = write(folder, description(folder, **head))
    try:
        assert json.loads(run("up", "--json", path))["started"]
        program = folder / "program.py"
        program.write_text(PROGRAM)
        assert "['a b'] [0, 1, 4]" in run("submit", path, str(program), "a b")
        assert "Autoscaler 'demo'" in run("exec", path, "shoal", "status")
        (folder / "data").mkdir()
        (folder / "data" / "x").write_text("1")
        sdk.rsync(path, source=str(folder / "data"), target=str(folder / "there"), down=False)
        sdk.rsync(path, source=str(folder / "there" / "x"), target=str(folder / "back" / "y"), down=True)
        assert (folder / "back" / "y").read_text() == "1"
        assert sdk.get_head_node_ip(path) == "127.0.0.1"
    finally:
        run("down", path)
        server.stop()
    assert living(folder) == []


def test_clusters_from_a_program(folder: Path) -> None:
    described = description(folder)
    heard: list[str] = []
    sdk.register_callback_handler("cluster_booting_completed", lambda event: heard.append(event["event"]))
    assert sdk.fillout_defaults(described)["max_machines"] == 10
    assert sdk.bootstrap_config(described)["node_types"]["pair"]["min"] == 0
    with pytest.raises(ConfigError, match="is not up"):
        sdk.create_or_update_cluster(described, restart_only=True)
    sdk.create_or_update_cluster(described)
    try:
        assert heard == ["cluster_booting_completed"]
        said = sdk.run_on_cluster(described, cmd="echo $SHOAL_ADDRESS", with_output=True)
        assert said.strip()
        assert sdk.get_head_node_ip(described) == "127.0.0.1"
        assert sdk.get_worker_node_ips(described) == []
        (folder / "one").write_text("1")
        sdk.rsync(described, source=str(folder / "one"), target=str(folder / "a" / "two"), down=False)
        assert (folder / "a" / "two").read_text() == "1"
    finally:
        sdk.teardown_cluster(described)
    assert living(folder) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: sdk.run_on_cluster({}, cmd="x", tmux=True),
        lambda: sdk.run_on_cluster({}, cmd="x", run_env="docker"),
        lambda: sdk.rsync({}, source=None, target=None, down=True),
        lambda: sdk.rsync({}, source="a", target="b", down=True, ip_address="1.2.3.4"),
        lambda: sdk.register_callback_handler("nosuch", print),
        lambda: sdk.register_callback_handler("up_started", [3]),  # type: ignore[list-item]
        lambda: sdk.configure_logging(log_style="loud"),
        lambda: sdk.configure_logging(color_mode="force"),
        lambda: sdk.configure_logging(verbosity=-1),
        lambda: sdk.teardown_cluster({}, keep_min_workers=True),
        lambda: sdk.create_or_update_cluster({}, no_restart=True, restart_only=True),
        lambda: sdk.create_or_update_cluster({}),
    ],
)
def test_what_cannot_be_is_refused(call: Any) -> None:
    with pytest.raises(ConfigError):
        call()
