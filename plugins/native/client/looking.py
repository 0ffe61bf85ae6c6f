"""What a session tells of itself: its daemon is asked, or the folder of a dead one is read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError
from shoal.interfaces.looking import LogPart, NodeSeen, SessionSeen
from shoal.observe.eventlog import FOLDER
from shoal.observe.eventreader import read_raw

if TYPE_CHECKING:
    from shoal.config import Config
    from shoal.native.client.client import Client

_MOST_BYTES = 1 << 28
_OF_HEAD = ("nodes", "jobs", "actors", "groups", "reports")


def look(client: Client, objects: bool, timeout: float) -> SessionSeen:
    """Ask the daemon of a session. Raises GetTimeout."""
    end = time.monotonic() + timeout

    def ask(name: str) -> Any:
        return client.request(name, timeout=max(0.001, end - time.monotonic()))

    reports: list[dict[str, Any]] = ask("look")
    return SessionSeen(
        session=client.session.name,
        folder=client.session.folder,
        is_live=True,
        nodes=[to_node(report) for report in reports if not report.get("silent")],
        known=of_head(ask),
        objects=ask("memory") if objects else (),
        silent=sum(bool(report.get("silent")) for report in reports),
    )


def of_head(ask: Callable[[str], Any]) -> dict[str, Any]:
    """Return what the head knows, by the name of the question."""
    return {name: ask(name) for name in _OF_HEAD}


def to_node(report: dict[str, Any]) -> NodeSeen:
    """Return a node's answer."""
    processes = report["processes"]
    return NodeSeen(
        node=report["node"],
        log=report["log"],
        calls=[call for process in processes for call in process["calls"]],
        workers=report["workers"],
        files=[(name, size) for name, size in report["files"]],
        parts=[(name, begin, data) for name, begin, data in report["parts"]],
        silent=sum(bool(process.get("silent")) for process in processes),
    )


def read_log(client: Client, node: str, name: str, start: int, size: int, timeout: float) -> LogPart:
    """Ask for a part of a log; see `SupportsLooking.read_log`."""
    try:
        facts = {"name": name, "start": start, "size": size}
        part = client.request("errand", node, "log part", facts, timeout=timeout)
    except LookupError as error:
        raise FileNotFoundError(str(error.args[0])) from None
    return LogPart(part["start"], part["data"], part["size"])


def look_at_folder(folder: str) -> SessionSeen:
    """Read what a dead session has left."""
    logs = os.path.join(folder, "logs")
    files = []
    if os.path.isdir(logs):
        files = sorted((entry.name, entry.stat().st_size) for entry in os.scandir(logs))
    node = NodeSeen(node="", log=read_raw(os.path.join(folder, FOLDER), _MOST_BYTES), files=files)
    return SessionSeen(
        session=os.path.basename(os.path.normpath(folder)), folder=folder, is_live=False, nodes=[node]
    )


def look_at(where: str | None, config: Config, objects: bool, timeout: float) -> SessionSeen:
    """Look at a session from outside; see `SupportsLooking.look_at`."""
    from shoal.native.commands.seen import is_live
    from shoal.native.process.join import observe_session
    from shoal.native.process.session import Session

    folder = find_folder(where, config)
    if not is_live(folder):
        return look_at_folder(folder)
    client = observe_session(Session.read(folder))
    try:
        return look(client, objects, timeout)
    finally:
        client.close()


def find_folder(where: str | None, config: Config) -> str:
    """Return the folder of the session or node that is meant. Raises ConfigError, listing what is there."""
    from shoal.native.commands.seen import live_sessions, session_folders
    from shoal.native.process.node import find_node, find_nodes

    if where is not None and os.sep in where:
        if not os.path.isdir(where):
            raise ConfigError(f"there is no folder {where}; `shoal sessions` lists those of living sessions")
        return os.path.abspath(where)
    if where is not None and ":" in where:
        return find_node(where, config.temp_dir).folder
    living = {one.folder: one for one in live_sessions(config.temp_dir)}
    nodes = find_nodes(config.temp_dir)
    if (
        where is None
        and nodes
        and len({node.head_address for node in nodes}) == 1
        and len(living) == len(nodes)
    ):
        return nodes[0].folder  # any node of a cluster tells of all
    folders = session_folders(config.temp_dir) if where is not None else list(living)
    matching = [
        folder
        for folder in folders
        if where is None
        or os.path.basename(folder).endswith(where)
        or (folder in living and where == str(living[folder].driver_pid))
    ]
    if len(matching) == 1:
        return matching[0]
    names = "".join(f"\n  {os.path.basename(folder)}" for folder in (matching or folders)[-10:])
    if where is None:
        what = "no session lives here" if not living else f"{len(living)} sessions live here; name one"
    else:
        what = f"{len(matching)} sessions are meant by {where!r}"
    raise ConfigError(f"{what}{': ' if names else ''}{names}")
