"""The page of training: runs that go on, that are over, that failed; their ranks, and their metrics' curves."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Asker

import shoal
from shoal import train
from shoal.train import DataParallelTrainer, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    context = shoal.init(num_cpus=2, dashboard_port=0)
    try:
        found = json.loads(Path(context["session_dir"], "dashboard.json").read_text())
        yield Asker(found["url"], found["token"])
    finally:
        shoal.shutdown()


def row_when(
    asker: Asker, name: str, is_there: Callable[[list[Any]], bool]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the row of a run, and the page, when it is as wanted; or as they are after a while."""
    end = time.monotonic() + 30
    while True:
        page: dict[str, Any] = asker.ask("/api/pages/train").json
        rows = [row for table in page.get("tables", [])[:1] for row in table["rows"] if row[0] == name]
        if (rows and is_there(rows[0])) or time.monotonic() > end:
            return (rows[0] if rows else []), page
        time.sleep(0.1)


def steps(config: dict[str, Any]) -> None:
    end = time.monotonic() + 60
    for step in itertools.count():
        train.report({"loss": 1.0 / (step + 1), "said": "words"})
        enough = (Path(config["enough"]).exists() and step > 20) or time.monotonic() > end
        if train.collective.broadcast_from_rank_zero(enough):
            return


def test_the_page_shows_a_run_while_it_goes_on_and_when_it_is_over(asker: Asker, tmp_path: Path) -> None:
    assert "Nothing was trained" in asker.ask("/api/pages/train").json["text"]
    trainer = DataParallelTrainer(
        steps,
        train_loop_config={"enough": str(tmp_path / "enough")},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name="digits", storage_path=str(tmp_path), verbose=0),
    )
    thread = threading.Thread(target=trainer.fit)
    thread.start()
    try:
        row, page = row_when(asker, "digits", lambda row: row[3] > 2)
    finally:
        (tmp_path / "enough").touch()
        thread.join(60)
    assert row[1:3] == ["running", 2]
    ranks = page["tables"][1]
    assert ranks["name"] == "digits: ranks"
    assert [rank[0] for rank in ranks["rows"]] == [0, 1]
    assert all(rank[4] > 0 for rank in ranks["rows"])
    row, page = row_when(asker, "digits", lambda row: row[1] != "running")
    assert row[1:3] == ["finished", 2]
    assert row[3] >= 20
    assert row[8].startswith("loss 0.")
    assert row[8].endswith("said words")
    [chart] = page["charts"]
    assert chart["name"] == "loss"
    losses = [value for _, value in chart["series"]["digits"]]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) > 10


def test_the_page_shows_why_a_run_failed(asker: Asker, tmp_path: Path) -> None:
    def fails() -> None:
        train.report({"loss": float("nan")})
        raise ValueError("no such digit")

    with pytest.raises(WorkerGroupError, match="no such digit"):
        DataParallelTrainer(
            fails,
            run_config=RunConfig(
                name="failing",
                storage_path=str(tmp_path),
                verbose=0,
                failure_config=FailureConfig(max_failures=1),
            ),
        ).fit()
    row, page = row_when(asker, "failing", lambda row: row[1] == "failed")
    assert (row[1], row[5], row[6]) == ("failed", 2, 2)
    assert "no such digit" in row[8]
    [said] = [table for table in page["tables"] if table["name"] == "failing: what was said"]
    assert "failure 1 of 1" in said["rows"][0][1]
