"""What mypy, with our plugin, says of a program with actors: each wrong call is found, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# `T:` is the type that the line's expression must have, `E:` a part of the error that it must give.
PROGRAM = """
from collections.abc import Iterator
from typing import Generic, TypeVar
import shoal

T = TypeVar("T")

@shoal.remote
class Counter:
    def __init__(self, start: int, step: int = 1) -> None:
        self.n = start
    def add(self, amount: int, *, twice: bool = False) -> int:
        return self.n
    async def later(self, name: str) -> list[str]:
        return [name]
    def stream(self, n: int) -> Iterator[int]:
        yield n
    @shoal.method(num_returns=2)
    def both(self, a: int) -> tuple[int, int]:
        return a, a
    @staticmethod
    def fixed(a: str) -> str:
        return a
    @classmethod
    def of_class(cls, a: str) -> str:
        return a
    def untyped(self, a, b=1):  # type: ignore[no-untyped-def]
        return a

@shoal.remote(num_cpus=2)
class Empty:
    def get(self) -> str:
        return ""

class Plain:
    def __init__(self, size: float) -> None: ...
    def area(self) -> float:
        return 1.0

class Box(Generic[T]):
    def __init__(self, value: T) -> None: ...
    def take(self) -> list[T]:
        return []

class Below(Plain):
    pass

c = Counter.remote(1)
reveal_type(c)                                            # T: ActorHandle[program.Counter]
reveal_type(c.add.remote(1))                              # T: ObjectRef[int]
reveal_type(c.add.remote(c.add.remote(1), twice=True))    # T: ObjectRef[int]
reveal_type(c.later.remote("x"))                          # T: ObjectRef[list[str]]
reveal_type(c.stream.remote(3))                           # T: ObjectRefGenerator[int]
reveal_type(c.both.remote(3))                             # T: Any
reveal_type(c.fixed.remote("x"))                          # T: ObjectRef[str]
reveal_type(c.of_class.remote("x"))                       # T: ObjectRef[str]
reveal_type(shoal.get(c.add.remote(1)))                   # T: int
reveal_type(Empty.options(name="x").remote().get.remote())          # T: ObjectRef[str]
reveal_type(shoal.remote(Plain).remote(2.0).area.remote())          # T: ObjectRef[float]
reveal_type(shoal.remote(Box[int]).remote(2).take.remote())         # T: ObjectRef[list[int]]
reveal_type(shoal.remote(Below).remote(shoal.put(2.0)).area.remote())  # T: ObjectRef[float]
c.untyped.remote(1)
c.__shoal_ready__.remote()
c.add.options(name="x").remote(1)
c.add.remote("x")                     # E: incompatible type "str"; expected "int | ObjectRef[int]"
c.add.remote()                        # E: Missing positional argument "amount"
c.add.remote(1, three=True)           # E: Unexpected keyword argument "three"
c.add.remote(c.later.remote("x"))     # E: incompatible type "ObjectRef[list[str]]"
c.fixed.remote(1)                     # E: incompatible type "int"
c.missing.remote()                    # E: The actor class "Counter" has no method "missing"
Counter.remote("a")                   # E: incompatible type "str"
Counter.remote()                      # E: Missing positional argument "start"
shoal.remote(Plain).remote("wide")    # E: incompatible type "str"; expected "float | ObjectRef[float]"
shoal.remote(Below).remote()          # E: Missing positional argument "size"
Empty.remote(1)                       # E: Too many
"""

CONFIGURATION = """
[mypy]
plugins = shoal.mypy_plugin
mypy_path = {view}
follow_imports = silent
check_untyped_defs = true
[mypy-program]
strict = true
allow_untyped_calls = true
"""


def test_what_mypy_says_of_actors(tmp_path: Path) -> None:
    view = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_view.py"], check=True, capture_output=True, text=True
    ).stdout.strip()
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mypy.ini").write_text(CONFIGURATION.format(view=view))
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--config-file",
            "mypy.ini",
            "--cache-dir",
            tmp_path / "cache",
            "program.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    said: dict[int, list[str]] = {}
    for line in ran.stdout.splitlines():
        found = re.match(r"program\.py:(\d+): (error|note): (.*)", line)
        if found and "defined in" not in line:
            said.setdefault(int(found[1]), []).append(found[3])
    wanted = {
        number: (words[1], words[2].strip())
        for number, line in enumerate(PROGRAM.splitlines(), 1)
        if (words := re.search(r"# ([TE]): (.*)", line))
    }
    assert set(said) == set(wanted), ran.stdout + ran.stderr
    for number, (kind, part) in wanted.items():
        message = said[number][0].replace("shoal.api.handle.", "").replace("shoal.interfaces.refs.", "")
        assert (f'Revealed type is "{part}"' == message) if kind == "T" else (part in message), (
            number,
            said[number],
        )
