"""What workers print: at the driver with a prefix, folded, bounded; in files that are bounded as well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import assert_nothing_left, eventually

import shoal

pytestmark = pytest.mark.processes
SECONDS = 30
Shown = Callable[..., str]


@pytest.fixture
def start() -> Iterator[Callable[..., Any]]:
    """Start a session with settings; it is ended and looked for leaks afterwards."""
    contexts = []

    def begin(**settings: Any) -> Any:
        context = shoal.init(engine="native", num_cpus=2, num_gpus=0, **settings)
        contexts.append((context["session_dir"], context["session_name"]))
        return context

    yield begin
    shoal.shutdown()
    for folder, name in contexts:
        assert_nothing_left(folder, name)


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Shown:
    """Wait until the driver has shown all these texts; return everything that it has shown so far."""
    seen = {"out": "", "err": ""}

    def wait(*parts: str, stream: str = "out") -> str:
        def there() -> bool:
            out, err = capfd.readouterr()
            seen["out"] += out
            seen["err"] += err
            return all(part in seen[stream] for part in parts)

        eventually(there, f"{parts} is shown", SECONDS)
        return seen[stream]

    return wait


@shoal.remote
def say(text: str, stream: str = "stdout") -> int:
    getattr(sys, stream).write(text)
    getattr(sys, stream).flush()
    return os.getpid()


@shoal.remote
class Speaker:
    def say(self, text: str) -> int:
        sys.stdout.write(text + "\n")
        return os.getpid()


def test_lines_come_with_the_name_and_process_that_printed_them(start: Any, shown: Shown) -> None:
    start()
    pid = shoal.get(say.remote("hello from a task\n"), timeout=SECONDS)
    assert f"(say pid={pid}) hello from a task\n" in shown("hello from a task")
    speaker = Speaker.remote()
    pid = shoal.get(speaker.say.remote("hello from an actor"), timeout=SECONDS)
    assert f"(Speaker pid={pid}) hello from an actor\n" in shown("hello from an actor")


def test_errors_go_to_the_standard_error(start: Any, shown: Shown) -> None:
    start()
    pid = shoal.get(say.remote("a complaint\n", "stderr"), timeout=SECONDS)
    assert f"(say pid={pid}) a complaint\n" in shown("a complaint", stream="err")


def test_bytes_that_are_no_text_do_no_harm(start: Any, shown: Shown) -> None:
    start()

    @shoal.remote
    def raw() -> None:
        os.write(1, b"before \xff\xfe after\n")

    shoal.get(raw.remote(), timeout=SECONDS)
    assert "before \ufffd\ufffd after" in shown("after")


def test_the_same_line_of_many_workers_is_folded(start: Any, shown: Shown, tmp_path: Path) -> None:
    start()
    speakers = [Speaker.options(num_cpus=0).remote() for _ in range(4)]
    pids = shoal.get([speaker.say.remote("all of us") for speaker in speakers], timeout=SECONDS)
    assert len(set(pids)) == 4
    text = shown("all of us", "[and 3 times in other workers]")
    assert text.count("all of us") == 2, "once as it came, once with the count"


def test_nothing_is_shown_if_not_wanted(start: Any, capfd: pytest.CaptureFixture[str]) -> None:
    context = start(log_to_driver=False)
    logs = Path(context["session_dir"]) / "logs"
    shoal.get([say.remote("quiet please\n"), say.remote("quiet please\n", "stderr")], timeout=SECONDS)

    def kept() -> bool:
        return sum(path.read_text().count("quiet please") for path in logs.glob("worker-*")) == 2

    eventually(kept, "the files have it", SECONDS)
    shoal.shutdown()
    out, err = capfd.readouterr()
    assert "quiet" not in out + err


def test_files_keep_what_was_printed(start: Any, shown: Shown) -> None:
    context = start()
    for number in range(3):
        shoal.get(say.remote(f"line {number}\n"), timeout=SECONDS)
    shown("line 0", "line 1", "line 2")
    text = "".join(path.read_text() for path in (Path(context["session_dir"]) / "logs").glob("worker-*"))
    assert sorted(re.findall(r"line \d", text)) == ["line 0", "line 1", "line 2"]


def test_all_logs_of_a_session_are_bounded_together(start: Any) -> None:
    context = start(session_log_max_bytes=2**20)
    logs = Path(context["session_dir"]) / "logs"
    block = "z" * 63 + "\n"
    shoal.get([say.remote(block * (2**20 // 64)) for _ in range(6)], timeout=SECONDS)

    def told() -> bool:
        return any(b"session_log_max_bytes" in path.read_bytes() for path in logs.glob("worker-*"))

    eventually(told, "the file says that it ends there", SECONDS)
    assert sum(path.stat().st_size for path in logs.glob("worker-*")) < 2 * 2**20


def test_what_is_left_out_is_counted(start: Any, shown: Shown) -> None:
    start()
    shoal.get(say.remote("".join(f"{number}\n" for number in range(20_000))), timeout=SECONDS)

    text = shown("lines were not shown", stream="err")
    counts = [int(count) for count in re.findall(r"(\d+) lines were not shown", text)]
    assert 1_000 < sum(counts) < 20_000


def test_the_last_lines_of_a_program_are_shown(tmp_path: Path) -> None:
    """What a task has printed before its result was got is shown, though the program ends at once."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import shoal

            @shoal.remote
            def talk(number):
                print("said", number, flush=True)

            shoal.init(engine="native", num_cpus=2, num_gpus=0)
            shoal.get([talk.remote(number) for number in range(5)])
            """
        )
    )
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, str(program)], capture_output=True, text=True, timeout=60, check=True
        )
        assert sorted(re.findall(r"said \d", done.stdout)) == [f"said {number}" for number in range(5)]
