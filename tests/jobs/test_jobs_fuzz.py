"""Whatever is sent to the routes of jobs, the server answers, as its OpenAPI document says, and never with 500."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shoal.cluster_utils import Cluster
from shoal.jobs import JobSubmissionClient
from shoal.jobs.find import find_server

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "dashboard_port": 0}) as cluster:
        assert cluster.head_node is not None
        found = find_server(cluster.head_node.folder)
        client = JobSubmissionClient(cluster.head_node.folder)
        client.submit_job(entrypoint="echo there", submission_id="there")
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{found.url}/api/openapi.json",
            "--include-path-regex=^/api/(jobs|packages)",
            "--exclude-path-regex=tail$",
            "--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            "--header", f"Authorization: Bearer {found.token}",
            "--header", "X-Shoal: 1",
            "--max-examples=40",
            "--phases=examples,coverage,fuzzing",
            "--generation-deterministic",
            "--request-timeout=30",
            "--no-color",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
        # And it still serves.
        assert json.dumps(client.get_job_info("there").to_json())
