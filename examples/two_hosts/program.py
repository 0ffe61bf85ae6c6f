"""Says on which of a cluster's nodes its tasks ran: python program.py HEAD TEMP_DIR."""

from __future__ import annotations

import sys
import time
from collections import Counter

import shoal


@shoal.remote(scheduling_strategy="SPREAD")
def where() -> str:
    time.sleep(0.05)
    return str(shoal.get_runtime_context().get_node_id())


address, temp_dir = sys.argv[1:]
with shoal.init(address=address, temp_dir=temp_dir):
    counted = Counter(shoal.get([where.remote() for _ in range(20)], timeout=60))
    for node in shoal.nodes():
        print(f"{node['NodeID'][:8]} at {node['NodeManagerAddress']}: {counted[node['NodeID']]} tasks")
    assert len(counted) == 2, counted
