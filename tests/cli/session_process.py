"""A session in a program of its own, for commands to look at: it says when it is ready, and obeys line by line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = """
import json, os, sys, time
import shoal

how = {"address": sys.argv[1]} if sys.argv[1:] else {"num_cpus": 2, "num_gpus": 0}
context = shoal.init(engine="native", log_to_driver=False, **how)

@shoal.remote
class Printer:
    def say(self, text):
        print(text, flush=True)
        return os.getpid(), shoal.get_runtime_context().get_worker_id()

@shoal.remote
def stand_still_in_a_task(path):
    local_of_the_task = "seen from outside"
    while not os.path.exists(path):
        time.sleep(0.01)

printer = Printer.remote()
pid, worker = shoal.get(printer.say.remote("first words"))
print(json.dumps({"folder": context["session_dir"], "name": context["session_name"], "pid": pid, "worker": worker}),
      flush=True)
held = []
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "say":
        shoal.get(printer.say.remote(rest))
    elif word == "hold":
        held.append(stand_still_in_a_task.remote(rest))
        ready, _ = shoal.wait(held, timeout=0)
    elif word == "put":
        held.append(shoal.put(bytes(int(rest))))
    print("done", flush=True)
shoal.shutdown()
"""


class SessionProcess:
    """A running session. `worker` is the identifier of the one worker that prints, `pid` its process."""

    def __init__(self, folder: Path, address: str = "") -> None:
        (script := folder / "session_program.py").write_text(PROGRAM)
        self._process = subprocess.Popen(
            [sys.executable, str(script), *([address] if address else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        said: dict[str, Any] = json.loads(self._line())
        self.name: str = said["name"]
        self.folder: str = said["folder"]
        self.worker: str = said["worker"]
        self.pid: int = said["pid"]

    @property
    def driver_pid(self) -> int:
        return self._process.pid

    def tell(self, *words: object) -> None:
        """Have it carry out one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        assert self._line() == "done\n"

    def end(self) -> None:
        """End it as a program ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait(10)
            self._process.stdout.close()

    def __enter__(self) -> SessionProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the session's program has ended"
        return line
