"""Drivers in processes of their own, for tests with several jobs on one cluster."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from shoal.cluster_utils import Cluster

_PRELUDE = """
import json, os, sys, threading, time
import shoal
sys.stdout.reconfigure(line_buffering=True)
shoal.init(**json.loads(sys.argv[1]))

def say(*words):
    print("@", json.dumps(words))

def heard():
    return sys.stdin.readline().strip()

say("ready")
"""


class Driver:
    """One program that uses a cluster. It says things with `say(...)`, and reads a line with `heard()`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._said: list[list[Any]] = []
        self._news = threading.Condition()
        self._closed = False
        self._other: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                if line.startswith("@ "):
                    self._said.append(json.loads(line[2:]))
                else:
                    self._other.append(line)
                self._news.notify_all()
        with self._news:
            self._closed = True
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self._process.pid

    def expect(self, word: str, seconds: float = 40.0) -> list[Any]:
        """Wait until the driver has said something that begins with a word; return the rest."""
        with self._news:
            found = self._news.wait_for(
                lambda: next((said for said in self._said if said[0] == word), None) or self._closed, seconds
            )
            if not isinstance(found, list):
                raise AssertionError(f"it did not say {word!r}; it said {self._said}\n{self.printed()}")
            self._said.remove(found)
            return found[1:]

    def has_said(self, word: str) -> bool:
        """Tell whether the driver has said a word by now. Raises AssertionError if it has ended without."""
        with self._news:
            found = any(said[0] == word for said in self._said)
            assert found or not self._closed, (
                f"it did not say {word!r}; it said {self._said}\n{self.printed()}"
            )
            return found

    def printed(self) -> str:
        return "".join(self._other)

    def tell(self, line: str = "") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)

    def finish(self, seconds: float = 40.0) -> None:
        """Wait for its end; it must be a good one."""
        assert self._process.wait(seconds) == 0, self.printed()

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(20)
        self._reader.join(20)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()


@contextlib.contextmanager
def driver(cluster: Cluster, folder: Path, program: str, **settings: Any) -> Iterator[Driver]:
    """Start a program, which has said that it is ready, with these settings for init()."""
    path = folder / f"driver_{settings.get('job_name', 'one')}.py"
    path.write_text(_PRELUDE + textwrap.dedent(program))
    given = {**cluster.init_arguments(), **settings}
    process = subprocess.Popen(
        [sys.executable, str(path), json.dumps(given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with Driver(process) as one:
        one.expect("ready")
        yield one
