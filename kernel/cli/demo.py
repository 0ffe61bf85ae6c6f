"""The demo, a program like a user's: it uses the public API and nothing else of Shoal.

The sources of the standard library become one large array that is shared, not sent: each task reads its part where
the array lies. The results go to an actor without passing through this process. Functions and classes stand at the
top level, so that workers can import them.
"""

from __future__ import annotations

import collections
import io
import os
import sysconfig
import time
import token
import tokenize
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

import shoal

SKIPPED = {"__pycache__", "idlelib", "lib2to3", "site-packages", "test", "tests", "turtledemo"}
TASKS = 32
Span = tuple[int, int]


@attrs.frozen
class Corpus:
    """Many files in one array of bytes, and where in it each file lies."""

    data: Any  # a NumPy array where NumPy is installed, else bytes
    spans: tuple[Span, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return self.spans[-1][1]


@attrs.frozen
class Counted:
    """What one task counted, and where it ran."""

    kinds: collections.Counter[str]
    files: int
    seconds: float
    worker: str
    process: int
    node: str
    memory: str  # where the array lay that it read

    @property
    def tokens(self) -> int:
        """Tokens of all kinds."""
        return self.kinds.total()


@attrs.frozen
class Place:
    """All that one process did."""

    node: str
    process: int
    tasks: int
    files: int
    tokens: int
    seconds: float
    memory: str


@attrs.frozen
class Total:
    """The sum of all tasks' counts."""

    kinds: collections.Counter[str]

    @property
    def tokens(self) -> int:
        """Tokens of all kinds."""
        return self.kinds.total()


@attrs.frozen(kw_only=True)
class Outcome:
    """Everything that the command prints."""

    corpus: Corpus
    total: Total
    places: tuple[Place, ...]
    agrees: bool
    has_processes: bool
    start_seconds: float
    share_seconds: float
    parallel_seconds: float
    serial_seconds: float
    dashboard: str  # HOST:PORT while the session lived, "" if it had none
    session: str  # its name


class Tally:
    """The actor that adds up what the tasks count, whichever comes first."""

    def __init__(self) -> None:
        self.counted: list[Counted] = []

    def add(self, counted: Counted) -> int:
        """Take one task's count; return how many have come."""
        self.counted.append(counted)
        return len(self.counted)

    def total(self) -> Total:
        """Return the sum over all tasks."""
        kinds: collections.Counter[str] = collections.Counter()
        for counted in self.counted:
            kinds.update(counted.kinds)
        return Total(kinds)

    def places(self) -> tuple[Place, ...]:
        """Return what each process did, sorted by process."""
        by_process: dict[tuple[str, int], list[Counted]] = collections.defaultdict(list)
        for counted in self.counted:
            by_process[counted.node, counted.process].append(counted)
        return tuple(
            Place(
                node=node,
                process=process,
                tasks=len(done),
                files=sum(counted.files for counted in done),
                tokens=sum(counted.tokens for counted in done),
                seconds=sum(counted.seconds for counted in done),
                memory=", ".join(sorted({counted.memory for counted in done})),
            )
            for (node, process), done in sorted(by_process.items())
        )


def read_corpus(files: int) -> Corpus:
    """Read up to so many source files of the standard library into one array."""
    folder = Path(sysconfig.get_path("stdlib"))
    paths = (path for path in sorted(folder.rglob("*.py")) if not SKIPPED.intersection(path.parts))
    data = bytearray()
    spans = []
    for path, _ in zip(paths, range(files), strict=False):
        start = len(data)
        data += path.read_bytes()
        spans.append((start, len(data)))
    return Corpus(as_array(bytes(data)), tuple(spans))


def as_array(data: bytes) -> Any:
    """Return the bytes as a NumPy array, which is written once and then only looked at; bytes without NumPy."""
    try:
        import numpy
    except ImportError:
        return data
    return numpy.frombuffer(data, dtype=numpy.uint8)


def split(spans: Sequence[Span], parts: int) -> list[list[Span]]:
    """Deal the files out so that all parts have about as many bytes: the largest first, each to the lightest part."""
    dealt: list[list[Span]] = [[] for _ in range(min(parts, len(spans)))]
    weights = [0] * len(dealt)
    for span in sorted(spans, key=lambda span: span[0] - span[1]):
        lightest = weights.index(min(weights))
        dealt[lightest].append(span)
        weights[lightest] += span[1] - span[0]
    return dealt


def count(data: Any, spans: Iterable[Span]) -> collections.Counter[str]:
    """Count the tokens of these files by kind."""
    kinds: collections.Counter[str] = collections.Counter()
    view = memoryview(data)
    for start, stop in spans:
        try:
            for found in tokenize.tokenize(io.BytesIO(view[start:stop]).readline):
                kinds[token.tok_name[found.type]] += 1
        except (SyntaxError, tokenize.TokenError):  # a few files of the library are wrong on purpose
            kinds["unreadable"] += 1
    return kinds


def count_part(data: Any, spans: list[Span]) -> Counted:
    """The task: count some files of the shared array, and say where that happened."""
    began = time.perf_counter()
    kinds = count(data, spans)
    context = shoal.get_runtime_context()
    return Counted(
        kinds=kinds,
        files=len(spans),
        seconds=time.perf_counter() - began,
        worker=context.get_worker_id(),
        process=os.getpid(),
        node=context.get_node_id(),
        memory=memory_of(data),
    )


def memory_of(data: Any) -> str:
    """Say where an array's bytes lie: "shared" if in a mapping that other processes have too, else "own"."""
    address = getattr(data, "__array_interface__", {"data": (0, True)})["data"][0]
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return "unknown"
    for (
        line
    ) in lines:  # "7f0c8000-7f0d0000 r--s 00000000 00:1a 17 /dev/shm/…": the last letter is s for shared
        bounds, rights = line.split(maxsplit=2)[:2]
        first, last = (int(bound, 16) for bound in bounds.split("-"))
        if first <= address < last:
            return "shared" if rights.endswith("s") else "own"
    return "own"


def run(engine: str, files: int, before_end: Callable[[shoal.SessionContext], None] | None = None) -> Outcome:
    """Count with tasks and an actor, then alone, and compare. `before_end` is called while the session still lives."""
    corpus = read_corpus(files)
    before = time.perf_counter()
    session = shoal.init(engine=engine)
    try:
        started = time.perf_counter()
        shared = shoal.put(corpus.data)
        stored = time.perf_counter()
        task = shoal.remote(count_part)
        tally = shoal.remote(Tally).remote()
        shoal.get([tally.add.remote(task.remote(shared, part)) for part in split(corpus.spans, TASKS)])
        total, places = shoal.get(tally.total.remote()), shoal.get(tally.places.remote())
        done = time.perf_counter()
        dashboard = session.dashboard_url
        if before_end is not None:
            before_end(session)
    finally:
        shoal.shutdown()
    serial_start = time.perf_counter()
    alone = count(corpus.data, corpus.spans)
    return Outcome(
        corpus=corpus,
        total=total,
        places=places,
        agrees=alone == total.kinds,
        has_processes=any(place.process != os.getpid() for place in places),
        start_seconds=started - before,
        share_seconds=stored - started,
        parallel_seconds=done - stored,
        serial_seconds=time.perf_counter() - serial_start,
        dashboard=dashboard,
        session=session["session_name"],
    )
