"""The state API's question: every process of every node writes its events and tells which calls are not over.

A node answers with the end of its event log, as it is in its files: whoever asks reads it as that of a dead session.
"""

from __future__ import annotations

import os
import time
from typing import ClassVar

from shoal.native.daemon.gathering import Gathering, Have, Report
from shoal.native.wire import kinds
from shoal.observe.eventlog import FOLDER
from shoal.observe.eventreader import read_new, read_raw

_MOST_BYTES = 32 << 20  # of one node's log, the newest


class Looking(Gathering):
    """Called with the lock held."""

    to_process: ClassVar[int] = kinds.LOOK
    to_node: ClassVar[int] = kinds.ASK_LOOK
    from_node_kind: ClassVar[int] = kinds.LOOK_IS
    silent_process: ClassVar[Report] = {"calls": []}

    def own(self, processes: list[Report], have: Have = None) -> Report:
        """Return this node's log, its processes' unfinished calls and its log files.

        `have` says how many bytes of each segment are known already: then the log is what is new, by segment.
        """
        daemon = self._daemon
        daemon.events.flush()
        logs = os.path.join(daemon.session.folder, "logs")
        folder = os.path.join(daemon.session.folder, FOLDER)
        log = read_raw(folder, _MOST_BYTES) if have is None else []
        return {
            "number": daemon.number,
            "node": daemon.session.node_id.hex(),
            "clock": time.time(),
            "processes": processes,
            "log": log,
            "parts": [] if have is None else read_new(folder, have, _MOST_BYTES),
            "workers": [
                {
                    "worker": worker.worker_id,
                    "pid": worker.pid,
                    "state": worker.state,
                    "actor": worker.actor_id,
                }
                for worker in daemon.pool.workers.values()
            ],
            "files": sorted([entry.name, entry.stat().st_size] for entry in os.scandir(logs)),
        }
