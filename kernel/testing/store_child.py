"""A second process for store tests: opens a store and does, one after the other, what it reads from its input.

Commands and answers are one JSON value a line, so the test decides the order of everything.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from shoal.interfaces.store import ObjectStore, StoreSettings


class ChildStore:
    """The test's side. Example: `child.ask("put", oid.hex(), "61")` stores b"a" from the other process."""

    def __init__(self, store_class: type[ObjectStore], settings: StoreSettings) -> None:
        chosen = json.dumps(
            {
                "folder": settings.folder,
                "capacity": settings.capacity,
                "client": settings.client,
                "spill_folder": settings.spill_folder,
                "options": dict(settings.options),
            }
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, store_class.__module__, store_class.__qualname__, chosen],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str, *arguments: Any) -> Any:
        """Have it done and return the answer: plain data, or the name of the exception class."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process died in {command}"
        return json.loads(line)

    def kill(self) -> None:
        """End it as the machine's own killer would: without a word."""
        self._process.send_signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> None:
        """Let it end, and release its pipes."""
        self._process.communicate()


class _Commands:
    """The other side: each method is a command."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.views: dict[str, memoryview] = {}

    def create(self, name: str, data: str) -> None:
        block = self.store.create(bytes.fromhex(name), len(data) // 2)
        block[:] = bytes.fromhex(data)
        block.release()

    def put(self, name: str, data: str) -> None:
        self.create(name, data)
        self.store.seal(bytes.fromhex(name))

    def put_zeros(self, name: str, size: int) -> None:
        self.store.create(bytes.fromhex(name), size).release()
        self.store.seal(bytes.fromhex(name))

    def get(self, name: str) -> str | None:
        view = self.store.get(bytes.fromhex(name))
        return None if view is None else view.hex()

    def hold(self, name: str) -> str | None:
        view = self.store.get(bytes.fromhex(name))
        if view is None:
            return None
        self.views[name] = view
        return view.hex()

    def held(self, name: str) -> str:
        return self.views[name].hex()

    def let_go(self, name: str) -> None:
        self.views.pop(name).release()

    def delete(self, name: str) -> bool:
        return self.store.delete(bytes.fromhex(name))

    def ids(self) -> list[str]:
        return [each.hex() for each in self.store.ids()]

    def used(self) -> int:
        return self.store.statistics().used

    def recycled(self) -> int:
        return self.store.statistics().recycled

    def close(self) -> None:
        self.store.close()

    def pid(self) -> int:
        return os.getpid()


def main(module: str, name: str, chosen: str) -> None:
    """Serve until the input ends."""
    settings: Mapping[str, Any] = json.loads(chosen)
    store: ObjectStore = getattr(import_module(module), name)(StoreSettings(**settings))
    commands = _Commands(store)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        method: Callable[..., Any] = getattr(commands, command)
        try:
            answer = method(*arguments)
        except Exception as error:  # the test wants to see whatever it was
            answer = type(error).__name__
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
