"""Folders from one node to another, as tasks on both."""

from __future__ import annotations

import fnmatch
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

import shoal
from shoal.errors import ConfigError
from shoal.util.scheduling_strategies import NodeAffinitySchedulingStrategy

__all__ = ["sync_dir_between_nodes"]

_CHUNK = 500 << 20
_LARGEST = 1 << 30


def sync_dir_between_nodes(
    source_ip: str,
    source_path: str,
    target_ip: str,
    target_path: str,
    force_all: bool = False,
    exclude: Sequence[str] | None = None,
    chunk_size_bytes: int = _CHUNK,
    max_size_bytes: int | None = _LARGEST,
    return_futures: bool = False,
) -> Any:
    """Copy a folder from one node to another: what is there already, with the same size and time, is left out.

    Parameters: nodes are given by address. With `force_all` everything is copied. `exclude` are patterns of paths below
    the folder. It travels in pieces of `chunk_size_bytes`; one that is larger than `max_size_bytes` is an error. With
    `return_futures` references to the source's and the target's task come back at once, else when it is done.
    Raises ConfigError for an address that no node has, ValueError for a folder that is too large, FileNotFoundError.

    Example: `sync_dir_between_nodes("10.0.0.1", "/data/a", "10.0.0.2", "/data/a")`
    """
    there: Any = None
    if not force_all:
        there = shoal.remote(_listing).options(**_on(target_ip)).remote(target_path)
    packed = (
        shoal.remote(_packed)
        .options(**_on(source_ip))
        .remote(source_path, there, list(exclude or ()), chunk_size_bytes, max_size_bytes)
    )
    unpacked = shoal.remote(_unpacked).options(**_on(target_ip)).remote(packed, target_path)
    if return_futures:
        return packed, unpacked
    shoal.get(unpacked)
    return None


def _on(address: str) -> dict[str, Any]:
    known = {node["NodeManagerAddress"]: node["NodeID"] for node in shoal.nodes() if node["Alive"]}
    if address not in known:
        raise ConfigError(f"no node has the address {address!r}; there are {', '.join(sorted(known))}")
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(known[address], soft=False)}


def _files(folder: str) -> Iterator[str]:
    for above, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(above, name), folder)


def _facts(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, int(found.st_mtime)


def _listing(folder: str) -> dict[str, tuple[int, int]]:
    return {name: _facts(os.path.join(folder, name)) for name in _files(folder)}


def _packed(
    folder: str, there: dict[str, tuple[int, int]] | None, exclude: list[str], size: int, most: int | None
) -> list[Any]:
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no folder {folder}")
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in sorted(_files(folder)):
            path = os.path.join(folder, name)
            if any(fnmatch.fnmatch(name, pattern) for pattern in exclude):
                continue
            if there is not None and there.get(name) == _facts(path):
                continue
            tar.add(path, arcname=name, recursive=False)
            if most is not None and data.tell() > most:
                raise ValueError(
                    f"{folder} is larger than max_size_bytes, {most}: exclude files or raise the bound"
                )
    view = data.getbuffer()
    return [shoal.put(bytes(view[at : at + max(size, 1)])) for at in range(0, len(view), max(size, 1))]


def _unpacked(pieces: list[Any], folder: str) -> bool:
    data = io.BytesIO()
    for piece in pieces:
        data.write(shoal.get(piece))
    data.seek(0)
    os.makedirs(folder, exist_ok=True)
    with tarfile.open(fileobj=data) as tar:
        tar.extractall(folder, filter="data")
    return True
