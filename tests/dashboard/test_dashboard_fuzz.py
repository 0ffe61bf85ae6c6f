"""Whatever is sent to the API, the server answers as its OpenAPI document says, and never with 500."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from asking import Asker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_schemathesis_finds_nothing(asker: Asker, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{asker.url}/api/openapi.json",
        "--exclude-path-regex=^/api/(jobs|packages)",  # they have a test of their own
        "--checks=not_a_server_error,status_code_conformance,content_type_conformance",
        "--header", f"Authorization: Bearer {asker.token}",
        "--max-examples=25",
        "--phases=examples,coverage,fuzzing",
        "--generation-deterministic",
        "--request-timeout=30",
        "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    assert asker.ask("/healthz").status == 200
