"""`shoal start` as supervisors use it, and the credentials that machines are given beforehand."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal.native.process.node import find_nodes, read_node
from shoal.native.security.bundle import read_bundle

pytestmark = pytest.mark.processes
SHOAL = str(Path(sysconfig.get_path("scripts")) / "shoal")
SECONDS = 60
SMALL = ["--num-cpus", "1", "--num-gpus", "0"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SHOAL, *words], capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="shoal-") as made:  # short, for the names of Unix sockets
        yield made
        run("stop", "--temp-dir", made)
        assert not find_nodes(made)


@contextlib.contextmanager
def blocking(folder: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A head that `shoal start --block` stays with, and what that has printed of it."""
    words = ["start", "--head", "--port", "0", "--block", "--json", "--temp-dir", folder, *SMALL]
    with subprocess.Popen(
        [SHOAL, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            text = ""
            while not text.rstrip().endswith("}"):
                line = process.stdout.readline()
                assert line, process.stderr and process.stderr.read()
                text += line
            yield process, json.loads(text)
        finally:
            if process.poll() is None:
                process.kill()


def test_a_blocking_start_ends_its_node_when_it_is_told_to(folder: str) -> None:
    with blocking(folder) as (process, node):
        assert read_node(node["folder"]) is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    assert not find_nodes(folder)


def test_a_blocking_start_that_waits_for_its_head_can_be_told_to_end(folder: str) -> None:
    credentials = f"{folder}.credentials"
    run("credentials", credentials)
    words = ["start", "--address", "127.0.0.1:1", "--credentials", credentials]
    words += ["--block", "--temp-dir", folder, *SMALL]
    with subprocess.Popen([SHOAL, *words], stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while not any(Path(folder).glob("*/*")) and time.monotonic() < deadline:  # its handler is older
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 1
            assert process.stderr is not None
            assert "given up" in process.stderr.read()
        finally:
            os.unlink(credentials)
            if process.poll() is None:
                process.kill()


def test_a_blocking_start_fails_when_its_node_ends(folder: str) -> None:
    with blocking(folder) as (process, node):
        os.kill(node["pid"], signal.SIGKILL)
        assert process.wait(SECONDS) == 1
        assert process.stderr is not None
        assert node["node_id"] in process.stderr.read()


def test_credentials_can_be_made_beforehand(folder: str, tmp_path: Path) -> None:
    path = str(tmp_path / "credentials")
    assert run("credentials", path).returncode == 0
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert read_bundle(path).has_authority
    again = run("credentials", path)
    assert again.returncode == 1
    assert "File exists" in again.stderr
    common = ["--credentials", path, "--json", "--temp-dir", folder, *SMALL]
    head = json.loads(
        run("start", "--head", "--port", "0", *common).stdout
    )  # it has an authority, so TLS is on
    joined = json.loads(run("start", "--address", head["head_address"], *common).stdout)
    assert joined["number"] != head["number"]
    plain = str(tmp_path / "token")
    Path(plain).write_bytes(read_bundle(path).token)
    os.chmod(plain, 0o600)
    began = time.monotonic()
    refused = run(
        *("start", "--address", head["head_address"], "--token-file", plain, "--temp-dir", folder),
        *("--set", "head_wait_seconds=1", *SMALL),
    )
    assert refused.returncode == 1  # without a certificate the token is not enough
    assert time.monotonic() - began < SECONDS / 2


@pytest.mark.parametrize("text", ["", "-----BEGIN SHOAL TOKEN-----\nAAAA\n-----END SHOAL TOKEN-----\n"])
def test_a_file_that_is_something_else_is_refused(folder: str, tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials"
    path.write_text(text)
    path.chmod(0o600)
    done = run("start", "--head", "--port", "0", "--credentials", str(path), "--temp-dir", folder)
    assert done.returncode == 1
    assert "holds no credentials" in done.stderr
