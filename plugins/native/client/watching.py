"""Looking at a session again and again: one connection, and of the event logs what is new."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError
from shoal.interfaces.looking import NodeSeen, SessionSeen, Watch
from shoal.native.client.looking import find_folder, of_head, to_node
from shoal.observe.eventlog import FOLDER
from shoal.observe.eventreader import read_new

if TYPE_CHECKING:
    from shoal.config import Config
    from shoal.native.client.client import Client

_MOST_BYTES = 1 << 28


class LiveWatch(Watch):
    """A session that lives."""

    is_live = True

    def __init__(self, client: Client) -> None:
        self._client = client
        self._have: dict[str, int] = {}
        self.session = client.session.name
        self.folder = client.session.folder

    def look(self, objects: bool, timeout: float) -> SessionSeen:
        client = self._client
        client.check_usable()
        end = time.monotonic() + timeout

        def ask(name: str, *arguments: Any) -> Any:
            return client.request(name, *arguments, timeout=max(0.001, end - time.monotonic()))

        reports: list[dict[str, Any]] = ask("look", self._have)
        nodes = [to_node(report) for report in reports if not report.get("silent")]
        silent = len(reports) - len(nodes)
        kept = dict(self._have) if silent else {}  # segments of a silent node are not gone
        for node in nodes:
            kept.update((name, begin + len(data)) for name, begin, data in node.parts)
        seen = SessionSeen(
            session=self.session,
            folder=self.folder,
            is_live=True,
            nodes=nodes,
            known=of_head(ask),
            objects=ask("memory") if objects else (),
            silent=silent,
        )
        self._have = kept  # not before all is known: what a failed look has brought is brought again
        return seen

    def errand(self, node: str, what: str, facts: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._client.request("errand", node, what, dict(facts), timeout=timeout)
        return answer

    def dashboard(self) -> str:
        return str(self._client.request("dashboard"))

    def close(self) -> None:
        self._client.close()


class DeadWatch(Watch):
    """The folder of a session that has ended: nothing is new after the first look."""

    is_live = False

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.session = os.path.basename(os.path.normpath(folder))
        self._have: dict[str, int] = {}

    def look(self, objects: bool, timeout: float) -> SessionSeen:
        parts = read_new(os.path.join(self.folder, FOLDER), self._have, _MOST_BYTES)
        self._have = {name: begin + len(data) for name, begin, data in parts}
        logs = os.path.join(self.folder, "logs")
        files = []
        if os.path.isdir(logs):
            files = sorted((entry.name, entry.stat().st_size) for entry in os.scandir(logs))
        node = NodeSeen(node="", files=files, parts=parts)
        return SessionSeen(session=self.session, folder=self.folder, is_live=False, nodes=[node])

    def errand(self, node: str, what: str, facts: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        from shoal.native.process.probes import probe

        if what != "log":
            raise ConfigError(
                "the session has ended, and its processes with it: there is nothing to look into"
            )
        return probe(what, self.folder, 0, facts)

    def dashboard(self) -> str:
        raise ConfigError(f"the session of {self.folder} has ended, and its dashboard with it")

    def close(self) -> None:
        pass


def watch_at(where: str | None, config: Config) -> Watch:
    """Watch a session from outside; see `SupportsWatching.watch_at`."""
    from shoal.native.commands.seen import is_live
    from shoal.native.process.join import observe_session
    from shoal.native.process.session import Session

    folder = find_folder(where, config)
    if not is_live(folder):
        return DeadWatch(folder)
    return LiveWatch(observe_session(Session.read(folder)))
