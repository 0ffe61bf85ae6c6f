"""Observers of installed packages hear what happens in real sessions, in the processes where it happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from leftovers import eventually

import shoal

pytestmark = pytest.mark.processes

OBSERVER = """
import json, os
from shoal.interfaces.hooks import hookimpl

def note(kind, **facts):
    with open({path!r}, "a") as file:
        file.write(json.dumps({{"kind": kind, "pid": os.getpid(), **facts}}) + "\\n")

class Observer:
    @hookimpl
    def shoal_session_started(self, event):
        note("started", session=event.session)

    @hookimpl
    def shoal_session_ended(self, event):
        note("ended", session=event.session)

    @hookimpl
    def shoal_task_finished(self, event):
        note("task", name=event.name, error=event.error, duration=event.duration)

    @hookimpl
    def shoal_actor_died(self, event):
        note("actor", name=event.name, cause=event.certificate.cause.value)

    @hookimpl
    def shoal_worker_died(self, event):
        note("worker", signal=event.certificate.signal)

    @hookimpl
    def shoal_object_spilled(self, event):
        note("spilled", size=event.size)

    @hookimpl
    def shoal_log_lines(self, event):
        note("log", lines=list(event.lines))
"""


def test_observers_hear_of_sessions_tasks_actors_workers_and_lines(
    tmp_path: Path, fake_dist: Callable[[str, str, str], None]
) -> None:
    path = tmp_path / "heard"
    path.touch()
    source = OBSERVER.format(path=str(path))
    fake_dist("listening_package", "[shoal.hooks]\nlistening = listening_package:Observer\n", source)

    def heard(kind: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [line for line in lines if line["kind"] == kind]

    with shoal.init(engine="native", num_cpus=2, num_gpus=0, object_store_memory=2**26) as session:
        name = session["session_name"]

        @shoal.remote
        def inner() -> int:
            return 1

        @shoal.remote
        def outer() -> int:
            import sys

            sys.stdout.write("a line to be heard\n")
            return int(shoal.get(inner.remote()))

        @shoal.remote(max_retries=0)
        def die() -> None:
            import os

            os.kill(os.getpid(), 9)

        @shoal.remote
        class Actor:
            def ready(self) -> bool:
                return True

        @shoal.remote(max_retries=0)
        def fail() -> None:
            raise LookupError("not there")

        with pytest.raises(LookupError):
            shoal.get(fail.remote())
        held = [shoal.put(b"x" * 2**23) for _ in range(10)]
        assert all(len(shoal.get(ref)) == 2**23 for ref in held)
        actor = Actor.remote()
        assert shoal.get(actor.ready.remote())
        assert shoal.get(outer.remote()) == 1
        with pytest.raises(shoal.errors.WorkerCrashed):
            shoal.get(die.remote())
        shoal.kill(actor)
        eventually(lambda: bool(heard("actor")), "the death of the actor is heard")
        eventually(
            lambda: any("a line to be heard" in line["lines"] for line in heard("log")), "the line is heard"
        )
        eventually(lambda: bool(heard("worker")), "the death of the worker is heard")

    [started], [ended] = heard("started"), heard("ended")
    assert started["session"] == ended["session"] == name
    by_name = {line["name"].rsplit(".", 1)[-1]: line for line in heard("task")}
    assert by_name["outer"]["pid"] == started["pid"], "the driver owns what it calls"
    assert by_name["inner"]["pid"] != started["pid"], "a task owns what it calls"
    assert by_name["outer"]["duration"] > 0
    assert by_name["fail"]["error"] == "LookupError"
    sizes = [line["size"] for line in heard("spilled")]
    assert sizes
    assert min(sizes) >= 2**23
    assert heard("worker")[0]["signal"] == 9
    assert heard("actor")[0]["name"] == "Actor"
