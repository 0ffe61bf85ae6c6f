"""Running installers: their words, their end, and what they are told."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from shoal.environments.installing import run
from shoal.errors import RuntimeEnvSetup
from shoal.interfaces.environment import setup_deadline


def test_what_it_prints_comes_back(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os, sys; print(os.getcwd()); print('loud', file=sys.stderr)"]
    assert set(run(command, "it", str(tmp_path)).splitlines()) == {str(tmp_path), "loud"}


def test_a_failure_has_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no room'); raise SystemExit(3)"]
    with pytest.raises(RuntimeEnvSetup, match=r"(?s)^the tool failed \(exit code 3\):\n\$ .*\nno room$"):
        run(command, "the tool", str(tmp_path))
    with pytest.raises(RuntimeEnvSetup, match="there is no program 'no-such-installer'"):
        run(["no-such-installer"], "it", str(tmp_path))


def test_only_the_end_of_much_output_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('x' * 100_000); print('the end'); raise SystemExit(1)"]
    with pytest.raises(RuntimeEnvSetup) as caught:
        run(command, "it", str(tmp_path))
    assert str(caught.value).endswith("the end")
    assert len(str(caught.value)) < 30_000


def test_it_is_ended_with_what_it_started_when_time_is_over(tmp_path: Path) -> None:
    child = "import time; time.sleep(60)"
    parent = f"import subprocess, sys; print('began', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    token = setup_deadline.set(time.monotonic() + 1)
    began = time.monotonic()
    try:
        with pytest.raises(RuntimeEnvSetup, match=r"(?s)not ready within 1 s .*began"):
            run([sys.executable, "-c", parent], "it", str(tmp_path))
        # Its output is read to the end, so nothing that had it open lives.
        assert time.monotonic() - began < 30
        with pytest.raises(RuntimeEnvSetup, match="not ready in time"):
            run([sys.executable, "-c", ""], "it", str(tmp_path))
    finally:
        setup_deadline.reset(token)


def test_uv_is_told_what_pip_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    monkeypatch.setenv("UV_INDEX", "https://mine.example")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://other.example")
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    printed = run(["env"], "it", str(tmp_path), {"MORE": "1"}).splitlines()
    assert "UV_DEFAULT_INDEX=https://index.example/simple" in printed
    assert "UV_FIND_LINKS=/one,/two" in printed
    assert "UV_INDEX=https://mine.example" in printed
    assert "MORE=1" in printed
    assert not [line for line in printed if line.startswith("VIRTUAL_ENV=")]
