"""One object, wanted by many hosts at once: its source sends few copies, and the others are sent on."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from hosts import Host, Network, why_not

REASON = why_not()
pytestmark = [pytest.mark.processes, pytest.mark.skipif(bool(REASON), reason=REASON)]
SECONDS = 60
SIZE = 30_000_000
HOSTS = 6

PROGRAM = """
import sys
import shoal
address, temp_dir, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
shoal.init(address=address, temp_dir=temp_dir)

@shoal.remote(num_cpus=1)
def nothing(): return shoal.get_runtime_context().get_node_id()

@shoal.remote(num_cpus=1)
def read(data): return len(data), data[-1], shoal.get_runtime_context().get_node_id()

def on(node): return shoal.NodeAffinitySchedulingStrategy(node_id=node, soft=False)

here = shoal.get_runtime_context().get_node_id()
nodes = [node["NodeID"] for node in shoal.nodes() if node["NodeID"] != here]
shoal.get([nothing.options(scheduling_strategy=on(node)).remote() for node in nodes], timeout=60)  # workers are up
ref = shoal.put(bytes(size - 1) + b"!")
print("ready", flush=True)
sys.stdin.readline()
found = shoal.get([read.options(scheduling_strategy=on(node)).remote(ref) for node in nodes], timeout=60)
assert sorted(found) == sorted((size, ord("!"), node) for node in nodes), found
print("read", flush=True)
"""


def sent_by(host: Host) -> int:
    """Return the bytes that have left a host."""
    words = ["ip", "-n", host.name, "-s", "-j", "link", "show", "cable"]
    found: Any = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return int(found[0]["stats64"]["tx"]["bytes"])


def test_the_source_sends_a_few_copies_and_the_others_come_from_those() -> None:
    small = ["--num-cpus", "1", "--num-gpus", "0"]
    with Network(HOSTS) as network:
        first, *others = network.hosts
        head = first.shoal("start", "--head", "--host", first.address, "--port", "0", *small)
        credentials = os.path.join(head["folder"], "credentials")
        for host in others:
            words = ["--address", head["head_address"], "--host", host.address, "--credentials", credentials]
            host.shoal("start", *words, *small)
        with first.python(PROGRAM, head["head_address"], first.folder, str(SIZE), stdin=True) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n", program.stderr and program.stderr.read()
            before = sent_by(first)
            out, err = program.communicate("\n", timeout=SECONDS)
        assert out == "read\n", err
        copies = (sent_by(first) - before) / SIZE
        # How many depends on who comes when; on a busy machine they come one after another.
        assert 0.9 < copies < len(others) - 0.5, f"{copies:.1f} copies for {len(others)} hosts"
