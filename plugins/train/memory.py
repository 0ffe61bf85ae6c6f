"""Checkpoints in memory: each rank's files lie in two processes, on two nodes if there are two."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

import shoal
from shoal.errors import ShoalError
from shoal.train.storage import local_files

_SECONDS = 300.0  # for which one keeper may take to answer
_PATH = "memory:"  # of checkpoints that are not in the storage

Files = dict[str, bytes]


class Keeper:
    """An actor that holds files of ranks, by the number of their report. Only the newest whole checkpoint is needed."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[int, Files]] = {}

    def put(self, number: int, rank: int, files: Files) -> None:
        """Hold a rank's files of a report."""
        self._parts.setdefault(number, {})[rank] = files

    def ranks(self, number: int) -> list[int]:
        """Return whose files of a report are here."""
        return sorted(self._parts.get(number, {}))

    def get(self, number: int, rank: int) -> Files:
        """Return a rank's files of a report."""
        return self._parts[number][rank]

    def forget(self, before: int) -> None:
        """Let go of reports before one."""
        self._parts = {number: parts for number, parts in self._parts.items() if number >= before}


@attrs.frozen(eq=False)
class Keepers:
    """The keepers of a run, and on which nodes they are. It can be sent."""

    actors: tuple[Any, ...] = ()
    nodes: tuple[str, ...] = ()

    def with_nodes(self, nodes: Sequence[str]) -> Keepers:
        """Return keepers that live: those of before, and new ones so that each node has one and there are two."""
        living = [
            (actor, node)
            for actor, node in zip(self.actors, self.nodes, strict=True)
            if _asked(actor.ranks.remote(-1)) is not None
        ]
        there = {node for _, node in living}
        wanted = [node for node in dict.fromkeys(nodes) if node not in there]
        while len(living) + len(wanted) < 2:
            wanted.append(nodes[0])
        make = shoal.remote(num_cpus=0, max_restarts=0)(Keeper)
        for node in wanted:
            place = shoal.NodeAffinitySchedulingStrategy(node, soft=True)
            living.append((make.options(scheduling_strategy=place).remote(), node))
        return Keepers(tuple(actor for actor, _ in living), tuple(node for _, node in living))

    def save(self, folder: str, number: int, rank: int, node: str) -> None:
        """Hold a folder's files at a keeper of this node, if there is one, and at another.

        Raises OSError if they are held nowhere.
        """
        files: Files = {}
        for name in local_files(folder):
            with open(os.path.join(folder, *name.split("/")), "rb") as file:
                files[name] = file.read()
        first = self.nodes.index(node) if node in self.nodes else rank % len(self.actors)
        value = shoal.put(files)
        two = [self.actors[(first + step) % len(self.actors)] for step in range(min(2, len(self.actors)))]
        refs = [actor.put.remote(number, rank, value) for actor in two]
        held = [_asked(ref, answer=True) for ref in refs]
        if not any(held):
            raise OSError(f"the checkpoint of report {number} could be held in no process's memory")

    def holders(self, number: int) -> dict[int, Any]:
        """Return a keeper for each rank whose files of a report are there."""
        found: dict[int, Any] = {}
        for actor in self.actors:
            for rank in _asked(actor.ranks.remote(number)) or ():
                found.setdefault(rank, actor)
        return found

    def fetch(self, number: int) -> str:
        """Write all files of a report to a new temporary folder; return its path. Raises FileNotFoundError."""
        folder = tempfile.mkdtemp(prefix="shoal_checkpoint_")
        holders = self.holders(number)
        if not holders:
            raise FileNotFoundError(f"nobody holds the checkpoint of report {number} any more")
        for rank, actor in sorted(holders.items()):
            files: Files = shoal.get(actor.get.remote(number, rank), timeout=_SECONDS)
            for name, data in files.items():
                inside = os.path.join(folder, *name.split("/"))
                os.makedirs(os.path.dirname(inside), exist_ok=True)
                with open(inside, "wb") as file:
                    file.write(data)
        return folder

    def forget(self, before: int) -> list[Any]:
        """Let go of reports before one; return references to hold until it is done."""
        return [actor.forget.remote(before) for actor in self.actors]

    def end(self) -> None:
        """End the keepers."""
        for actor in self.actors:
            with contextlib.suppress(ShoalError):
                shoal.kill(actor)


def path_in_memory(number: int) -> str:
    """Return what stands for the path of a checkpoint that is in memory only.

    Example: `path_in_memory(3)  # "memory:3"`
    """
    return f"{_PATH}{number}"


def is_in_memory(path: str | None) -> bool:
    """Return whether a checkpoint's path is none in a filesystem.

    Example: `is_in_memory("memory:3")  # True`
    """
    return path is not None and path.startswith(_PATH)


def lacking(holders: Mapping[int, Any], ranks: Sequence[int]) -> list[int]:
    """Return the ranks whose files nobody holds.

    Example: `lacking({0: keeper}, [0, 1])  # [1]`
    """
    return [rank for rank in ranks if rank not in holders]


def _asked(ref: Any, answer: Any = None) -> Any:
    """What a keeper answers (or `answer` for it), None if it is dead."""
    try:
        found = shoal.get(ref, timeout=_SECONDS)
    except ShoalError:
        return None
    return found if answer is None else answer
