"""Deployments that take tasks from queues: by Celery, with a broker in files."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shoal import serve
from shoal.errors import ConfigError

pytest.importorskip("celery")

from shoal.serve.queues import (
    CeleryAdapterConfig,
    TaskProcessorAdapter,
    TaskProcessorConfig,
    instantiate_adapter_from_config,
    task_consumer,
    task_handler,
)

pytestmark = pytest.mark.processes


def in_files(folder: Path, **settings: Any) -> TaskProcessorConfig:
    """A queue whose broker and results are files in a folder."""
    (folder / "messages").mkdir(exist_ok=True)
    (folder / "results").mkdir(exist_ok=True)
    options = {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.1,
    }
    adapter = CeleryAdapterConfig(
        broker_url="filesystem://",
        backend_url=f"file://{folder / 'results'}",
        broker_transport_options=options,
    )
    return TaskProcessorConfig(**{"queue_name": "words", "adapter_config": adapter, **settings})


def until(asked: Callable[[], Any], seconds: float = 40.0) -> Any:
    """Wait until something is true, within a bound; return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = asked()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come about")


def consumer(config: TaskProcessorConfig, notes: Path) -> Any:
    """A deployment that does tasks, and notes what it did."""

    @serve.deployment(max_ongoing_requests=2)
    @task_consumer(task_processor_config=config)
    class Words:
        @task_handler(name="shout")
        def shout(self, text: str) -> str:
            return text.upper()

        @task_handler
        async def whisper(self, text: str) -> str:
            await asyncio.sleep(0.01)
            return text.lower()

        @task_handler(name="fail")
        def fail(self, text: str) -> None:
            with notes.open("a") as file:
                file.write(f"{os.getpid()}\n")
            raise ValueError(f"no {text}")

        def __call__(self) -> str:
            return "here"

    return Words


def test_tasks_are_done_retried_and_told(services: None, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    config = in_files(tmp_path, max_retries=2, failed_task_queue_name="failed")
    handle = serve.run(consumer(config, notes).bind(), name="queue", route_prefix="/queue")
    try:
        assert handle.remote().result(timeout_s=30) == "here"
        queue = instantiate_adapter_from_config(config)
        loud = queue.enqueue_task_sync("shout", args=["hey"])
        soft = asyncio.run(queue.enqueue_task_async("whisper", kwargs={"text": "HEY"}))
        assert loud.status == "PENDING"
        assert until(lambda: queue.get_task_status_sync(loud.id).status == "SUCCESS")
        assert queue.get_task_status_sync(loud.id).result == "HEY"
        assert until(lambda: asyncio.run(queue.get_task_status_async(soft.id)).result == "hey")
        bad = queue.enqueue_task_sync("fail", args=["way"])
        assert until(lambda: queue.get_task_status_sync(bad.id).status == "FAILURE")
        assert "no way" in queue.get_task_status_sync(bad.id).result
        assert len(notes.read_text().splitlines()) == 3  # once, and twice again
        kept = [file.read_text() for file in (tmp_path / "messages").iterdir() if "failed" in file.name]
        assert len(kept) == 1
    finally:
        serve.delete("queue")


def test_what_waits_when_a_replica_ends_is_done_by_the_next(services: None, tmp_path: Path) -> None:
    config = in_files(tmp_path)
    queue = instantiate_adapter_from_config(config)
    tasks = [queue.enqueue_task_sync("shout", args=[f"word {number}"]) for number in range(5)]
    serve.run(consumer(config, tmp_path / "notes").bind(), name="queue", route_prefix="/queue")
    try:
        for number, task in enumerate(tasks):
            assert until(lambda task=task: queue.get_task_status_sync(task.id).result) == f"WORD {number}"
    finally:
        serve.delete("queue")
    late = queue.enqueue_task_sync("shout", args=["late"])
    time.sleep(0.5)
    assert queue.get_task_status_sync(late.id).status == "PENDING"  # nobody takes tasks any more


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"adapter": "nowhere:Nothing"}, "cannot be imported"),
        ({"adapter": int}, "must be a TaskProcessorAdapter"),
        ({"adapter_config": {"broker_url": "memory://"}}, "must be a CeleryAdapterConfig"),
        ({"queue_name": ""}, "queue_name"),
        ({"max_retries": -1}, "max_retries"),
    ],
)
def test_wrong_settings_are_told(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        instantiate_adapter_from_config(in_files(tmp_path, **settings))


def test_what_is_no_consumer_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no method that task_handler marks"):
        task_consumer(task_processor_config=in_files(tmp_path))(dict)
    with pytest.raises(ConfigError, match="must be a TaskProcessorConfig"):
        task_consumer(task_processor_config="words")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="must be text"):
        task_handler(name=" ")
    assert issubclass(in_files(tmp_path).adapter_class(), TaskProcessorAdapter)
