"""A session with a dashboard, and a way to ask it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from asking import Asker

import shoal


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    context = shoal.init(num_cpus=2, include_dashboard=True, dashboard_port=0)
    try:
        with open(os.path.join(context["session_dir"], "dashboard.json"), encoding="utf-8") as file:
            found = json.load(file)
        yield Asker(found["url"], found["token"])
    finally:
        shoal.shutdown()
