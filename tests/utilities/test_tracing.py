"""Spans of OpenTelemetry around calls, joined from the driver to the processes that run them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.errors import ConfigError
from shoal.util.tracing import disable_tracing, enable_tracing, is_tracing

SECONDS = 60
HOOK = "shoal.util.tracing.local_files:setup_tracing"

PROGRAM = f"""
import asyncio
import shoal
from opentelemetry import trace
from shoal.util.tracing import enable_tracing

@shoal.remote
def leaf(x):
    return x + 1

@shoal.remote
def branch(x):
    return shoal.get(leaf.remote(x)) + 1

@shoal.remote
def fails():
    raise KeyError("no")

@shoal.remote
def three():
    for i in range(3):
        yield i

@shoal.remote
class Adder:
    def add(self, x):
        return shoal.get(leaf.remote(x))

@shoal.remote(concurrency_groups={{"other": 1}})
class Slow:
    @shoal.method(concurrency_group="other")
    async def work(self):
        await asyncio.sleep(0)
        return shoal.get_runtime_context().get_actor_id()

shoal.init(engine=ENGINE, num_cpus=2)
enable_tracing("{HOOK}")
with trace.get_tracer("program").start_as_current_span("the program"):
    print(shoal.get(branch.remote(1)))
    print(shoal.get(branch.remote(leaf.remote(1))))
    print([shoal.get(ref) for ref in three.remote()])
    adder = Adder.remote()
    print(shoal.get(adder.add.remote(1)))
    slow = Slow.remote()
    assert shoal.get(slow.work.remote()) == slow._actor_id.hex()
    try:
        shoal.get(fails.remote())
    except KeyError as error:
        print("KeyError", error.args)
shoal.shutdown()
"""


@pytest.mark.processes
@pytest.mark.parametrize("engine", ["native", "inline"])
def test_the_spans_of_all_processes_are_one_tree(engine: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("ENGINE", repr(engine)))
    folder = tmp_path / "spans"
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "SPANS_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["3", "4", "[0, 1, 2]", "2", "KeyError ('no',)"]
    spans = [json.loads(line) for file in folder.iterdir() for line in file.read_text().splitlines()]
    assert len({span["context"]["trace_id"] for span in spans}) == 1
    by_id = {span["context"]["span_id"]: span for span in spans}

    def path(span: dict[str, Any]) -> list[str]:
        names = [span["name"]]
        while span["parent_id"] is not None:
            span = by_id[span["parent_id"]]
            names.append(span["name"])
        return names[::-1]

    paths = [path(span) for span in spans]
    inner = ["leaf task.remote", "leaf task.execute"]
    assert ["the program", "branch task.remote", "branch task.execute", *inner] in paths
    assert ["the program", "Adder.add actor.remote", "Adder.add actor.execute", *inner] in paths
    assert ["the program", "Slow.work actor.remote", "Slow.work actor.execute"] in paths
    assert ["the program", "three task.remote", "three task.execute"] in paths
    assert ["the program", "Adder.remote"] in paths
    (failed,) = [span for span in spans if span["name"] == "fails task.execute"]
    assert failed["status"]["status_code"] == "ERROR"
    assert failed["attributes"]["shoal.task"]
    assert len(list(folder.iterdir())) > (1 if engine == "native" else 0)


@pytest.mark.processes
def test_the_reference_s_way_to_begin(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import ray\n"
        "ray.init(num_cpus=1, _tracing_startup_hook='ray.util.tracing.setup_local_tmp_tracing:setup_tracing')\n"
        "print(ray.get(ray.remote(abs).remote(-1)))\n"
        "ray.shutdown()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "shoal.compat", str(program)],
        env={**os.environ, "SPANS_DIR": str(tmp_path / "spans")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
    text = "".join(file.read_text() for file in (tmp_path / "spans").iterdir())
    assert "abs task.remote" in text
    assert "abs task.execute" in text


def test_a_hook_that_cannot_be_run_is_refused() -> None:
    for hook, says in [
        ("nowhere_at_all:function", "cannot"),
        ("shoal.util.tracing.local_files:no_such", "module:function"),
        ("no colon", "cannot"),
        (lambda: None, "workers can import"),
    ]:
        with pytest.raises(ConfigError, match=says):
            enable_tracing(hook)  # type: ignore[arg-type]
        assert not is_tracing()


def test_it_can_be_ended() -> None:
    with shoal.init(engine="inline"), contextlib.ExitStack() as stack:
        stack.callback(disable_tracing)
        enable_tracing(f"{__name__}:set_nothing_up")
        assert is_tracing()
        disable_tracing()
        assert not is_tracing()

        @shoal.remote
        def plain() -> bool:
            return is_tracing()

        assert shoal.get(plain.remote()) is False


def set_nothing_up() -> None:
    """A hook of somebody who has OpenTelemetry set up already."""
