"""Where a source that only the driver's node can read is read, and executions that stand still."""

from __future__ import annotations

import threading
import time
from typing import Any

import pyarrow as pa
import pytest

import shoal
import shoal.data
from shoal.data import DataContext, Datasource, ReadTask
from shoal.data.exceptions import ExecutionTimeoutError

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("processes")]


class Here(Datasource):
    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        return [ReadTask(lambda: [pa.table({"id": [1]})])] * parallelism

    @property
    def supports_distributed_reads(self) -> bool:
        return False


def test_a_source_that_only_this_node_can_read_is_read_here() -> None:
    read = shoal.data.read_datasource(Here(), override_num_blocks=2)
    here = shoal.get_runtime_context().get_node_id()

    def where(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "node": shoal.get_runtime_context().get_node_id()}

    assert {row["node"] for row in read.map(where).take_all()} == {here}


def test_an_execution_that_makes_no_progress_ends() -> None:
    def sleep(row: dict[str, Any]) -> dict[str, Any]:
        threading.Event().wait(60)
        return row

    dataset = shoal.data.range(2, override_num_blocks=2).map(sleep)
    dataset.context.execution_no_progress_timeout_s = 0.5
    begun = time.monotonic()
    with pytest.raises(ExecutionTimeoutError, match=r"submitted and not ended: 2 of .*Map\(sleep\)"):
        dataset.take_all()
    assert time.monotonic() - begun < 50, "it did not wait for the tasks"


@pytest.mark.parametrize("seconds", [0, -1, "1", True])
def test_the_bound_is_seconds(seconds: Any) -> None:
    with pytest.raises(ValueError, match="execution_no_progress_timeout_s must be seconds > 0"):
        DataContext.get_current().copy().execution_no_progress_timeout_s = seconds
