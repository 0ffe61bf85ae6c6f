"""Log files of every node: their names, their ends, and lines that hold a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.dashboard.context import SessionContext


class Logs:
    """From any thread."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context

    def files(self) -> dict[str, Any]:
        """Return every log file: node, name, bytes."""
        seen = self._context.seen()
        found = [
            {"node": node.node, "name": name, "bytes": size}
            for node in seen.nodes
            for name, size in node.files
        ]
        return {"files": found, "silent": seen.silent}

    def read(self, node: str, name: str, lines: int, search: str) -> dict[str, Any]:
        """Return lines of a file. Raises LookupError if it is not there."""
        known = {(one["node"], one["name"]) for one in self.files()["files"]}
        if (node, name) not in known:
            raise LookupError(
                f"node {node or 'of this folder'} has no log file {name[:200]!r}; /api/logs lists them"
            )
        with self._context.lock:
            watching = self._context.watched()
        return dict(
            watching.errand(node, "log", {"name": name, "lines": lines, "search": search[:500]}, 30.0)
        )
