"""`shoal memory`: every process of every node is asked what it holds."""

from __future__ import annotations

from typing import ClassVar

from shoal.native.daemon.gathering import Gathering, Have, Report
from shoal.native.wire import kinds

_MOST_IDS = 10_000


class Holdings(Gathering):
    """Called with the lock held."""

    to_process: ClassVar[int] = kinds.HOLDINGS
    to_node: ClassVar[int] = kinds.ASK_HOLDINGS
    from_node_kind: ClassVar[int] = kinds.HOLDINGS_ARE
    silent_process: ClassVar[Report] = {"objects": [], "omitted": 0}

    def own(self, processes: list[Report], have: Have = None) -> Report:
        """Return what this node's processes hold, and what its store has."""
        daemon = self._daemon
        found = daemon.store.statistics()
        ids = daemon.store.ids()
        return {
            "number": daemon.number,
            "node_id": daemon.session.node_id,
            "processes": processes,
            "store": {
                "capacity": daemon.session.store_bytes,
                "objects": found.objects,
                "used": found.used,
                "recycled": found.recycled,
                "spilled_objects": found.spilled_objects,
                "spilled": found.spilled,
            },
            "stored": ids[:_MOST_IDS],
            "stored_omitted": max(0, len(ids) - _MOST_IDS),
        }
