"""Work for comparing schedulers: tasks with durations, sizes and needs; made up, or read from a file.

A trace is CSV with a header, or JSON Lines; one task a line, in an order in which each comes after what it needs:

    name      text, unique                                (required)
    arrival   when it is submitted, seconds               (0)
    seconds   how long it runs                            (required)
    cpus      CPUs that it holds                          (1)
    gpus      GPUs that it holds                          (0)
    bytes     size of its result                          (0)
    needs     names of tasks whose results are its arguments: in CSV separated by spaces, in JSON a list
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from shoal.errors import ConfigError, describe

WORKLOADS = ("map", "mapreduce", "mixed")
FIELDS = ("name", "arrival", "seconds", "cpus", "gpus", "bytes", "needs")
MIB = 1 << 20


@attrs.frozen(slots=True)
class SimTask:
    """One task of a workload. `needs` are indices of earlier tasks."""

    arrival: float
    seconds: float
    cpus: float
    gpus: float
    result_bytes: int
    needs: tuple[int, ...] = ()


def make_workload(name: str, tasks: int, seed: int) -> list[SimTask]:
    """Return `tasks` tasks of a kind, drawn from a seed. Raises ConfigError for an unknown kind.

    map: independent tasks of about a second. mapreduce: maps, and one reduce for each 20 that needs their results.
    mixed: tasks of several sizes that arrive over time, some with GPUs, some that need what was made of late.
    """
    chance = random.Random(f"{seed}/workload")
    if name == "map":
        return list(_map(chance, tasks))
    if name == "mapreduce":
        return list(_mapreduce(chance, tasks))
    if name == "mixed":
        return list(_mixed(chance, tasks))
    raise ConfigError(f"a workload must be one of {', '.join(WORKLOADS)}, got {describe(name)}")


def _map(chance: random.Random, tasks: int) -> Iterator[SimTask]:
    for _ in range(tasks):
        yield SimTask(0.0, chance.lognormvariate(0.0, 0.5), 1.0, 0.0, 1000)


def _mapreduce(chance: random.Random, tasks: int) -> Iterator[SimTask]:
    fan = 20
    open_: list[int] = []
    for index in range(tasks):
        if len(open_) == fan:
            yield SimTask(0.0, chance.uniform(1, 3), 2.0, 0.0, MIB, tuple(open_))
            open_ = []
            continue
        open_.append(index)
        yield SimTask(0.0, chance.lognormvariate(0.0, 0.5), 1.0, 0.0, chance.randint(1, 32) * MIB)


def _mixed(chance: random.Random, tasks: int) -> Iterator[SimTask]:
    for index in range(tasks):
        cpus = chance.choice((0.5, 1.0, 1.0, 2.0, 4.0))
        needs: tuple[int, ...] = ()
        if index and chance.random() < 0.4:
            earliest = max(0, index - 1000)
            needs = tuple({chance.randrange(earliest, index) for _ in range(chance.choice((1, 1, 2, 4)))})
        gpus = 1.0 if chance.random() < 0.05 else 0.0
        size = chance.choice((100, 100, MIB, 16 * MIB, 64 * MIB))
        yield SimTask(index * 0.0001, chance.lognormvariate(0.0, 1.0), cpus, gpus, size, tuple(sorted(needs)))


def read_trace(path: str) -> list[SimTask]:
    """Read a trace: CSV, or JSON Lines if the name ends in .json or .jsonl.

    Raises ConfigError naming the line: for a missing or unknown column, a value that is no number ≥ 0, a name that was
    there before, or a need that does not come before.
    """
    file = Path(path)
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            if file.suffix in (".json", ".jsonl"):
                return _tasks(path, _json_rows(path, lines))
            return _tasks(path, enumerate(csv.DictReader(lines), start=2))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the trace {path!r} cannot be read: {error}") from error


def _json_rows(path: str, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"line {number} of the trace {path!r} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ConfigError(f"line {number} of the trace {path!r} must be an object, got {describe(row)}")
        yield number, row


def _tasks(path: str, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> list[SimTask]:
    found: list[SimTask] = []
    known: dict[str, int] = {}
    for number, row in rows:
        where = f"line {number} of the trace {path!r}"
        unknown = sorted(str(key) for key in row if key not in FIELDS)
        if unknown:
            raise ConfigError(f"{where} has {', '.join(unknown)}; a task has {', '.join(FIELDS)}")
        name = str(row.get("name") or "")
        if not name or name in known:
            raise ConfigError(f"the name in {where} must be new and not empty, got {describe(name)}")
        given = row.get("needs") or ()
        needs = given.split() if isinstance(given, str) else list(given)
        missing = [need for need in needs if need not in known]
        if missing:
            raise ConfigError(f"{where} needs {missing[0]!r}, which does not come before it")
        known[name] = len(found)
        found.append(
            SimTask(
                _number(where, row, "arrival", 0.0),
                _number(where, row, "seconds", None),
                _number(where, row, "cpus", 1.0),
                _number(where, row, "gpus", 0.0),
                int(_number(where, row, "bytes", 0.0)),
                tuple(known[need] for need in needs),
            )
        )
    if not found:
        raise ConfigError(f"the trace {path!r} has no tasks")
    return found


def _number(where: str, row: Mapping[str, Any], field: str, default: float | None) -> float:
    value = row.get(field)
    if value in (None, "") and default is not None:
        return default
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ConfigError(f"{field} in {where} must be a number ≥ 0, got {describe(value)}")
    return number
