"""Cluster: starts nodes as the command line does, and ends them, gently or not."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import attrs

import shoal

_COMMAND_SECONDS = 120.0


@attrs.frozen(kw_only=True)
class ClusterNode:
    """One node of a `Cluster`."""

    node_id: str  # hexadecimal, as shoal.nodes() shows it
    pid: int  # of its daemon: kill it, and the node is dead
    address: str  # host:port where other nodes reach its processes
    head_address: str  # host:port of the cluster
    is_head: bool
    folder: str  # of its session: logs are below


class Cluster:
    """Nodes on this machine that are to each other as machines are: own processes, own object store, TCP between.

    Parameters: `initialize_head` starts a head at once with `head_node_args` (see `add_node`); `connect` makes this
    process a driver of it; `shutdown_at_exit` ends every node as this program ends, if nobody did before. As a context
    manager it ends them as well. Raises RuntimeError with what a node
    said if one does not come up.

    Example:

        with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
            cluster.add_node(num_cpus=4, resources={"special": 1})
            shoal.init(**cluster.init_arguments())
    """

    def __init__(
        self,
        initialize_head: bool = False,
        connect: bool = False,
        head_node_args: Mapping[str, Any] | None = None,
        shutdown_at_exit: bool = True,
    ) -> None:
        if connect and not initialize_head:
            raise ValueError("connect=True needs initialize_head=True: there is nothing to connect to")
        self._folder = tempfile.mkdtemp(prefix="shoal-cluster-")
        self._credentials = os.path.join(self._folder, "credentials")  # made by the head
        self._nodes: list[ClusterNode] = []
        self._head_options: dict[str, Any] = {}
        self._connected = False
        if shutdown_at_exit:
            atexit.register(self.shutdown)
        if initialize_head:
            try:
                self.add_node(**dict(head_node_args or {}))
                if connect:
                    self.connect()
            except BaseException:
                self.shutdown()
                raise

    # Nodes

    @property
    def address(self) -> str:
        """The address of the head; programs join with `init_arguments()`. Raises RuntimeError if there is no node."""
        if not self._nodes:
            raise RuntimeError("the cluster has no node; call add_node() first")
        return self._nodes[0].head_address

    @property
    def folder(self) -> str:
        """The folder of the nodes' session folders, which goes with the cluster."""
        return self._folder

    @property
    def gcs_address(self) -> str:
        """The reference's name of `address`."""
        return self.address

    @property
    def head_node(self) -> ClusterNode | None:
        """The node that the head runs on, None before the first add_node()."""
        return next((node for node in self._nodes if node.is_head), None)

    @property
    def worker_nodes(self) -> list[ClusterNode]:
        """The other nodes, in the order they were added."""
        return [node for node in self._nodes if not node.is_head]

    def list_all_nodes(self) -> list[ClusterNode]:
        """Return every node that was not removed, the head first."""
        return list(self._nodes)

    def remaining_processes_alive(self) -> bool:
        """Tell whether the daemon of every node that was not removed lives."""
        return all(_lives(node.pid) for node in self._nodes)

    def add_node(self, wait: bool = True, **options: Any) -> ClusterNode:
        """Start a node: the head if it is the first. Returns when it has joined.

        `options` are those of `shoal start` with underscores: num_cpus (default 1), num_gpus (default 0), resources,
        labels, memory, object_store_memory (bytes), and any setting of `shoal config`. `wait=False` is accepted for
        programs written for the reference: a node has always joined when this returns.
        Raises RuntimeError if it does not come up, with what it said.
        """
        given = {"num_cpus": 1, "num_gpus": 0, **options}
        words = ["start", "--json", "--temp-dir", self._folder, "--credentials", self._credentials]
        if self._nodes:
            words += ["--address", self.address]
        else:
            words += ["--head", "--port", str(given.pop("head_port", 0))]
        return self._start(words, given)

    def restart_head(self) -> ClusterNode:
        """Start a head where the last one was, which was killed: it goes on from what that one has kept.

        Needs a head that was added with a `head_port`. Raises RuntimeError if it does not come up.
        """
        last = self.head_node
        if last is None:
            raise RuntimeError("the cluster had no head; call add_node() first")
        port = last.head_address.rpartition(":")[2]
        words = ["start", "--json", "--temp-dir", self._folder, "--credentials", self._credentials]
        head = self._start([*words, "--head", "--port", port], self._head_options)
        self._nodes.remove(last)
        self._nodes.insert(0, self._nodes.pop())
        return head

    def _start(self, words: list[str], given: Mapping[str, Any]) -> ClusterNode:
        if "--head" in words:
            self._head_options = dict(given)
        for name, value in given.items():
            if value is None:
                continue
            text = json.dumps(value) if isinstance(value, (Mapping, list, bool)) else str(value)
            words += ["--set", f"{name}={text}"]
        found = self._run(words)
        node = ClusterNode(**{field.name: found[field.name] for field in attrs.fields(ClusterNode)})
        self._nodes.append(node)
        return node

    def remove_node(self, node: ClusterNode, allow_graceful: bool = True) -> None:
        """End a node: by `shoal stop`, or without `allow_graceful` by killing its processes at once.

        Raises ValueError if it is no node of this cluster (any more).
        """
        if node not in self._nodes:
            raise ValueError(f"{node.node_id} is no node of this cluster (any more)")
        if allow_graceful:
            self._run(["stop", "--json", "--temp-dir", self._folder, "--node", node.node_id])
        else:
            _kill(node.pid)
        self._nodes.remove(node)

    def wait_for_nodes(self, timeout: float = 30.0) -> None:
        """Wait until a driver sees exactly this cluster's nodes. Raises TimeoutError. Needs `connect()` or init()."""
        deadline = time.monotonic() + timeout
        wanted = {node.node_id for node in self._nodes}
        while True:
            seen = {node["NodeID"] for node in shoal.nodes() if node["Alive"]}
            if seen == wanted:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"after {timeout:g} s the driver sees the nodes {sorted(seen)}, and not {sorted(wanted)}"
                )
            time.sleep(0.02)

    # Life

    def connect(self, namespace: str | None = None) -> Any:
        """Make this process a driver of the cluster, as `shoal.init(**cluster.init_arguments())` does."""
        context = shoal.init(address=self.address, temp_dir=self._folder, namespace=namespace)
        self._connected = True
        return context

    def init_arguments(self) -> dict[str, str]:
        """Return what a program gives to shoal.init() to join: the address and the folder of the nodes' sessions."""
        return {"address": self.address, "temp_dir": self._folder}

    def shutdown(self) -> None:
        """End every node, the head last, and remove what they left."""
        atexit.unregister(self.shutdown)
        if self._connected:  # also when the session has broken: its end must be noted
            shoal.shutdown()
        self._connected = False
        self._nodes.clear()
        if os.path.isdir(self._folder):
            self._run(["stop", "--json", "--temp-dir", self._folder])  # with what killed nodes have left
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def _run(self, words: list[str]) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "shoal.cli.main", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
        )
        if done.returncode:
            raise RuntimeError(
                f"`shoal {' '.join(words[:2])}` failed: {(done.stderr or done.stdout).strip()}"
            )
        return json.loads(done.stdout)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _kill(pid: int) -> None:
    """End a daemon at once, and wait until it is gone: its workers end with it."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + 10
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.005)
