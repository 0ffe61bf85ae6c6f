"""The page of datasets: what runs, what ran, what failed, operator by operator."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Asker

import shoal
import shoal.data
from shoal.util.reports import told

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    context = shoal.init(num_cpus=2, dashboard_port=0)
    try:
        found = json.loads(Path(context["session_dir"], "dashboard.json").read_text())
        yield Asker(found["url"], found["token"])
    finally:
        shoal.shutdown()


def slowly(batch: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.4)
    return batch


def page(asker: Asker, is_there: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + 30
    while True:
        found: dict[str, Any] = asker.ask("/api/pages/data").json
        if is_there(found) or time.monotonic() > end:
            return found
        time.sleep(0.1)


def rows_of(found: dict[str, Any], state: str) -> list[Any]:
    tables = found.get("tables") or [{"rows": []}]
    return [row for row in tables[0]["rows"] if row[2] == state]


def test_the_page_shows_an_execution_while_it_runs_and_when_it_is_over(asker: Asker) -> None:
    assert "No dataset" in asker.ask("/api/pages/data").json["text"]
    slow = shoal.data.range(1200, override_num_blocks=12).map_batches(slowly)
    batches = slow.iter_batches(batch_size=100)
    seen = 0
    while not any(report.facts["rows"] for report in told("data")):
        seen += len(next(batches)["id"])
    running = page(asker, lambda found: any(row[3] for row in rows_of(found, "running")))
    assert rows_of(running, "running")[0][3] > 0
    assert seen + sum(len(batch["id"]) for batch in batches) == 1200

    found = page(asker, lambda found: bool(rows_of(found, "finished")))
    (row,) = rows_of(found, "finished")
    assert row[3] == 1200
    assert "slowly" in row[1]
    assert "bottleneck" in row[6]
    (operators,) = found["tables"][1:]
    assert operators["rows"][-1][3] == 1200
    (curve,) = found["charts"][0]["series"].values()
    assert [rows for _, rows in curve] == sorted(rows for _, rows in curve)


def test_the_page_shows_why_an_execution_failed(asker: Asker) -> None:
    def fails(batch: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.3)
        if 1100 in batch["id"]:
            raise ValueError("a bad row")
        return batch

    with pytest.raises(ValueError, match="a bad row"):
        shoal.data.range(1200, override_num_blocks=12).map_batches(fails).materialize()
    (row,) = rows_of(page(asker, lambda found: bool(rows_of(found, "failed"))), "failed")
    assert "a bad row" in row[6]
