"""The files of examples/deploy are what systemd, containers and Kubernetes read; their options exist."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from shoal.config import settings
from shoal.native.commands.start import start

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "examples" / "deploy"


def check_start(words: list[str]) -> None:
    """Parse the words behind `shoal` as the command line does."""
    assert words[0] == "start"
    context = start.make_context("start", words[1:], resilient_parsing=False)
    assert context.params["block"]
    assert context.params["head"] == (context.params["address"] is None)
    known = {setting.name for setting in settings()}
    assert {setting.partition("=")[0] for setting in context.params["settings"]} <= known
    context.close()


@pytest.mark.parametrize("name", ["shoal-head.service", "shoal-node.service"])
def test_units_start_nodes(name: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(DEPLOY / name)
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    program, *words = shlex.split(unit["Service"]["ExecStart"])
    assert os.path.basename(program) == "shoal"
    check_start(words)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", ["shoal-head.service", "shoal-node.service"])
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text().replace("/opt/shoal/bin/shoal", sys.executable)
    (tmp_path / name).write_text(text.replace("User=shoal\n", ""))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if name in line]
    assert not said
    broken = text.replace("Restart=", "Restrat=")
    (tmp_path / name).write_text(broken.replace("User=shoal\n", ""))
    again = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Restrat" in again.stderr  # it does look


def test_the_container_starts_a_node() -> None:
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    parts = dict(re.findall(r"^(\w+) (.*)$", "\n".join(lines), flags=re.M))
    assert json.loads(parts["ENTRYPOINT"]) == ["shoal"]
    check_start(json.loads(parts["CMD"]))
    assert parts["FROM"].startswith("python:3.")


def test_the_manifests_fit_together() -> None:
    found: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    by_kind = {one["kind"]: one for one in found}
    assert set(by_kind) == {"Service", "StatefulSet", "Deployment"}
    service = by_kind["Service"]
    for kind in ("StatefulSet", "Deployment"):
        specification = by_kind[kind]["spec"]
        template = specification["template"]
        assert specification["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        (container,) = template["spec"]["containers"]
        check_start(container["args"])
        volumes = {volume["name"] for volume in template["spec"]["volumes"]}
        volumes |= {claim["metadata"]["name"] for claim in specification.get("volumeClaimTemplates", [])}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        secret = next(v["secret"] for v in template["spec"]["volumes"] if "secret" in v)
        assert secret["defaultMode"] == 0o440
        if kind == "Deployment":
            address = container["args"][container["args"].index("--address") + 1]
            assert address == f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
        else:
            assert service["spec"]["selector"] == template["metadata"]["labels"]


def test_an_option_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        check_start(["start", "--head", "--block", "--no-such-option"])


@pytest.mark.processes
def test_two_hosts_run_a_program_together() -> None:
    sys.path.insert(0, str(ROOT / "tests" / "cluster"))
    try:
        from hosts import why_not
    finally:
        sys.path.pop(0)
    if reason := why_not():
        pytest.skip(reason)
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(ROOT / "examples" / "two_hosts" / "run.sh")],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^\w{8} at 10\.214\.0\.[12]:\d+: [1-9]\d* tasks$", done.stdout, flags=re.M)) == 2
