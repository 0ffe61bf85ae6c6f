"""The page of jobs in a cluster: a job that was submitted over HTTP, how it ended, and what it printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Asker
from browsing import FLAGS, SECONDS, require_browser

from shoal.cluster_utils import Cluster

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def asker() -> Iterator[Asker]:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
        assert cluster.head_node is not None
        found = json.loads(Path(cluster.head_node.folder, "dashboard.json").read_text())
        yield Asker(found["url"], found["token"])


def test_a_submitted_job_and_its_logs(asker: Asker) -> None:
    path = require_browser()
    asked = {"entrypoint": "echo hello from the job", "submission_id": "greeting"}
    answer = asker.ask("/api/jobs/", "POST", asked)
    assert answer.status == 200, answer.body
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page: Any = browser.new_page(base_url=asker.url)
        page.set_default_timeout(SECONDS * 1000)
        page.goto(f"/#token={asker.token}")
        expect(page.locator(".tiles")).to_be_visible()
        page.goto("/jobs")
        row = page.get_by_role("region", name="Submitted jobs").get_by_role("row", name="greeting")
        expect(row).to_contain_text("succeeded", timeout=60_000)
        row.get_by_role("button", name="Details and logs").click()
        expect(page.locator("pre.log")).to_contain_text("hello from the job")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        browser.close()
