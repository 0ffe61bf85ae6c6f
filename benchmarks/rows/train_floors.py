"""What torchrun does without any framework above torch."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "ddp_steps.py"


@ROWS.row("torchrun: DDP steps, 2 workers", seconds=180)
def steps(bench: Bench) -> Reading:
    """Two processes of one thread each, as torchrun starts them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        subprocess.run(
            [*command, str(PROGRAM), str(bench.size(400, 40)), f"{folder}/rate"],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=150,
        )
        return Reading(float(Path(folder, "rate").read_text()))
