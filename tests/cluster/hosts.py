"""Hosts for tests: network namespaces with addresses of their own on one switch, which can be cut off and healed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

SHOAL = str(Path(sysconfig.get_path("scripts")) / "shoal")
_SECONDS = 60


def why_not() -> str:
    """Return why this machine can have no such hosts, "" if it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"shoal-try-{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "the command ip (iproute2) is not installed"
    if made.returncode:
        return f"ip netns add: {made.stderr.strip()}"
    try:
        inside = subprocess.run(
            ["ip", "-n", name, "link", "add", "name", "a", "type", "veth", "peer", "name", "b"],
            capture_output=True,
            text=True,
            check=False,
        )
        return f"ip link add type veth: {inside.stderr.strip()}" if inside.returncode else ""
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@attrs.frozen
class Host:
    """One host. Its file system is the machine's; `folder` is for its sessions alone."""

    name: str
    address: str
    folder: str
    switch: str  # the namespace of the switch
    port: str  # this host's interface there

    def command(self, words: Sequence[str]) -> list[str]:
        """Return a command line that runs on this host."""
        return ["ip", "netns", "exec", self.name, *words]

    def shoal(self, *words: str) -> Any:
        """Run a shoal command on this host; return its JSON. Raises RuntimeError with what it said."""
        done = subprocess.run(
            self.command([SHOAL, *words, "--json", "--temp-dir", self.folder]),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"shoal {' '.join(words)} on {self.name}: {done.stderr or done.stdout}")
        return json.loads(done.stdout)

    def python(self, program: str, *arguments: str, stdin: bool = False) -> subprocess.Popen[str]:
        """Start a Python program on this host; `stdin`: which is going to be told something."""
        return subprocess.Popen(
            self.command([sys.executable, "-c", program, *arguments]),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def cut(self) -> None:
        """Pull the cable: nothing goes in or out, and nobody is told."""
        _ip("-n", self.switch, "link", "set", self.port, "down")

    def heal(self) -> None:
        """Plug it in again."""
        _ip("-n", self.switch, "link", "set", self.port, "up")

    def processes(self) -> list[int]:
        """Return what runs on this host."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True
        ).stdout
        return [int(word) for word in found.split()]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to everything that runs on this host."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Network:
    """A switch in a namespace of its own, and `count` hosts at it. As a context manager it leaves nothing.

    With `ipv6` they have no address of IPv4 at all.
    """

    def __init__(self, count: int, ipv6: bool = False) -> None:
        self._ipv6 = ipv6
        tag = f"{os.getpid():x}"
        self._folder = tempfile.mkdtemp(prefix="shoal-")  # short, for the names of Unix sockets
        self._switch = f"shoal-{tag}-switch"
        self.hosts = [
            Host(
                f"shoal-{tag}-{n}",
                f"fd00:213:7::{n}" if ipv6 else f"10.213.7.{n}",
                os.path.join(self._folder, str(n)),
                self._switch,
                f"port{n}",
            )
            for n in range(1, count + 1)
        ]

    def __enter__(self) -> Network:
        try:
            _ip("netns", "add", self._switch)
            _ip("-n", self._switch, "link", "add", "name", "switch", "type", "bridge")
            _ip("-n", self._switch, "link", "set", "switch", "up")
            for host in self.hosts:
                os.makedirs(host.folder, mode=0o700)
                _ip("netns", "add", host.name)
                _ip("-n", host.name, "link", "set", "lo", "up")
                peer = ["peer", "name", host.port, "netns", self._switch]
                _ip("-n", host.name, "link", "add", "name", "cable", "type", "veth", *peer)
                if self._ipv6:
                    _ip("-n", host.name, "addr", "del", "127.0.0.1/8", "dev", "lo")
                    _ip("-n", host.name, "addr", "add", f"{host.address}/64", "dev", "cable", "nodad")
                else:
                    _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "cable")
                _ip("-n", host.name, "link", "set", "cable", "up")
                _ip("-n", self._switch, "link", "set", host.port, "master", "switch", "up")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for host in self.hosts:
            if not os.path.exists(f"/run/netns/{host.name}"):
                continue
            host.signal(signal.SIGCONT)
            host.signal(signal.SIGTERM)
            deadline = time.monotonic() + 10
            while host.processes() and time.monotonic() < deadline:
                time.sleep(0.02)
            host.signal(signal.SIGKILL)
            _ip("netns", "del", host.name)
        if os.path.exists(f"/run/netns/{self._switch}"):
            _ip("netns", "del", self._switch)
        shutil.rmtree(self._folder, ignore_errors=True)
