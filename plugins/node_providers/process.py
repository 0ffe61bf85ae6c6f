"""ProcessNodes: nodes on this machine, each as if it were a machine of its own. For tests, and to try things out."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError, NodeProviderError, describe
from shoal.interfaces.nodes import (
    GONE,
    PENDING,
    RUNNING,
    STOPPING,
    Machine,
    NodeProvider,
    NodeStart,
    NodeType,
    machine_name,
)

_KILL_SECONDS = 15.0  # after which a node that was told to end is killed
_SAID = 2_000  # bytes of what a node has said last, for its reason


class ProcessNodes(NodeProvider):
    """Every machine is a process of `shoal start --block` on this machine, with resources as its type says.

    Options: `folder`, where it keeps what it has launched (~/.shoal-machines); `temp_dir`, the folder of the nodes'
    sessions. Its node types have no options. Resources are said, not enforced: four nodes of 8 CPUs share what this
    machine has.
    """

    name: ClassVar[str] = "process"
    __slots__ = ("_folder", "_start", "_temp_dir")

    @attrs.frozen(kw_only=True)
    class Options:
        """What `[provider]` may say."""

        folder: str = "~/.shoal-machines"
        temp_dir: str | None = None

    def __init__(self, cluster: str, start: NodeStart, options: Mapping[str, Any] | None = None) -> None:
        given = dict(options or {})
        folder, temp_dir = given.pop("folder", "~/.shoal-machines"), given.pop("temp_dir", None)
        if given:
            raise ConfigError(
                f"the node provider 'process' has no option {sorted(given)}; it has folder, temp_dir"
            )
        if not isinstance(folder, str) or not folder:
            raise ConfigError(
                f"folder of the node provider 'process' is the path of a folder, got {describe(folder)}"
            )
        if temp_dir is not None and not isinstance(temp_dir, str):
            raise ConfigError(f"temp_dir of the node provider 'process' is a path, got {describe(temp_dir)}")
        self._folder = os.path.join(os.path.abspath(os.path.expanduser(folder)), cluster)
        self._temp_dir = temp_dir
        self._start = start

    def check_type(self, node_type: NodeType) -> None:
        if node_type.options:
            raise ConfigError(
                f"node type {node_type.name!r}: the node provider 'process' has no options for types, got "
                f"{sorted(node_type.options)}"
            )

    def launch(self, node_type: NodeType, count: int, key: str) -> list[Machine]:
        if count < 1:
            raise ValueError(f"at least one machine is launched, not {count}")
        found: list[Machine] = []
        for index in range(count):
            machine_id = machine_name(key, index)
            try:
                self._launch(node_type, machine_id)
            except OSError as error:
                if not found:
                    raise NodeProviderError(self.name, f"launch {machine_id}", str(error)) from error
                break  # fewer is an answer
            found.append(self.describe(machine_id))
        return found

    def launch_named(self, node_type: NodeType, key: str, index: int) -> Machine:
        """Launch machine `index` of a launch alone. Raises NodeProviderError."""
        machine_id = machine_name(key, index)
        try:
            self._launch(node_type, machine_id)
        except OSError as error:
            raise NodeProviderError(self.name, f"launch {machine_id}", str(error)) from error
        return self.describe(machine_id)

    def _launch(self, node_type: NodeType, machine_id: str) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        folder = self._of(machine_id)
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            return  # an earlier try with this key
        # A head beyond loopback talks to no node on loopback; this machine is reached as the head is.
        host = self._start.head_address.rpartition(":")[0].strip("[]")
        beyond = host if not is_loopback(host) and "listen_host" not in self._start.settings else None
        words = self._start.words(machine_id, node_type, self._start.credentials_file, beyond)
        if self._temp_dir:
            words += ["--temp-dir", self._temp_dir]
        command = [sys.executable, "-m", "shoal.cli.main", *words]
        flags = os.O_WRONLY | os.O_CREAT
        try:
            # Not subprocess: its objects want to be waited for, and a machine outlives whoever launched it.
            pid = os.posix_spawn(
                sys.executable,
                command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.path.join(folder, "out"), flags, 0o600),
                    (os.POSIX_SPAWN_OPEN, 2, os.path.join(folder, "err"), flags, 0o600),
                ],
                setsid=True,
            )
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._write(folder, {"type": node_type.name, "pid": pid, "born": _born(pid)})

    def machines(self) -> list[Machine]:
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise NodeProviderError(self.name, "list its machines", str(error)) from error
        found = []
        for name in names:
            with contextlib.suppress(KeyError):  # forgotten, or not launched yet
                found.append(self.describe(name))
        return found

    def describe(self, machine_id: str) -> Machine:
        folder = self._of(machine_id)
        try:
            record = self._read(folder)
        except (OSError, ValueError):
            raise KeyError(machine_id) from None
        told = _told(folder)
        living = _living(record, told)
        place = f"process {record['pid']}"
        if not living:
            return Machine(
                machine_id=machine_id,
                node_type=record["type"],
                state=GONE,
                place=place,
                reason=_last_words(folder) or "its process has ended",
            )
        if record.get("stopping") and time.time() - record["stopping"] > _KILL_SECONDS:
            _signal(living, signal.SIGKILL)
        state = STOPPING if record.get("stopping") else RUNNING if told else PENDING
        address = str(told["address"]).rpartition(":")[0] if told else ""
        return Machine(
            machine_id=machine_id, node_type=record["type"], state=state, place=place, address=address
        )

    def terminate(self, machine_ids: Sequence[str]) -> None:
        for machine_id in machine_ids:
            folder = self._of(machine_id)
            try:
                record = self._read(folder)
            except (OSError, ValueError):
                continue
            living = _living(record, _told(folder))
            if not living:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if not record.get("stopping"):
                self._write(folder, {**record, "stopping": time.time()})
                _signal(living, signal.SIGTERM)

    def close(self) -> None:
        pass

    def _of(self, machine_id: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", machine_id):
            raise KeyError(machine_id)  # never a path to somewhere else
        return os.path.join(self._folder, machine_id)

    def _read(self, folder: str) -> dict[str, Any]:
        with open(os.path.join(folder, "machine.json"), encoding="utf-8") as file:
            record: dict[str, Any] = json.load(file)
        return record

    def _write(self, folder: str, record: Mapping[str, Any]) -> None:
        path = os.path.join(folder, "machine.json")
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.rename(path + ".new", path)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine and nothing else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")


def _told(folder: str) -> dict[str, Any] | None:
    """Return what the node has said when it was up."""
    try:
        with open(os.path.join(folder, "out"), encoding="utf-8") as file:
            told = json.load(file)
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def _living(record: Mapping[str, Any], told: Mapping[str, Any] | None) -> list[int]:
    """Return the processes of a machine that live: the one that stays with the node, and the node's own."""
    found = []
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record["pid"], os.WNOHANG)  # it may be a child of this process
    if _born(record["pid"]) == record["born"] != 0:
        found.append(int(record["pid"]))
    if told is not None and _is_daemon(int(told["pid"]), str(told["folder"])):
        found.append(int(told["pid"]))
    return found


def _is_daemon(pid: int, folder: str) -> bool:
    """Tell whether a process is the daemon of a session, and not another one that got its number."""
    if not _born(pid):
        return False
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsencode(folder) in file.read().split(b"\0")
    except OSError:
        return False


def _born(pid: int) -> int:
    """Return when a process began, in ticks since the machine's start; 0 if it does not live."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids[:1] if number == signal.SIGTERM else pids:  # the first one ends the other in peace
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _last_words(folder: str) -> str:
    try:
        with open(os.path.join(folder, "err"), "rb") as file:
            return file.read()[-_SAID:].decode(errors="replace").strip()
    except OSError:
        return ""
