"""What a web server in Python can do on this machine; the load comes from `wrk`, in a process of its own."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
SECONDS = 5
CONNECTIONS = 32
PROGRAM = Path(__file__).parent.parent / "programs" / "paced_requests.py"
_BARE = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


async def root(request):
    return JSONResponse({"ok": True})


app = Starlette(routes=[Route("/", root)])
"""


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def load(url: str, connections: int = CONNECTIONS) -> float:
    """Return the answers a second that `wrk` gets. Raises RuntimeError without it, or if answers were errors."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("these rows need wrk: apt-get install wrk")
    done = subprocess.run(
        [wrk, "-t1", f"-c{connections}", f"-d{SECONDS}s", url],
        capture_output=True,
        text=True,
        timeout=SECONDS + 30,
        check=True,
    )
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None or "Non-2xx" in done.stdout:
        raise RuntimeError(done.stdout)
    return float(found[1])


def paced(url: str, per_second: float, connections: int = CONNECTIONS) -> dict[str, float]:
    """Return the seconds that requests took at a steady pace: `p50` and `p99`."""
    words = [str(PROGRAM), url, str(per_second), str(SECONDS), str(connections)]
    done = subprocess.run(
        [sys.executable, "-P", *words], capture_output=True, text=True, timeout=SECONDS + 90, check=True
    )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def until_it_answers(port: int) -> None:
    """Wait until somebody listens at a port."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens at {port}")


@ROWS.row("bare uvicorn, no-op JSON", required=None, seconds=60)
def bare(bench: Bench) -> Reading:
    """One process of uvicorn with Starlette."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "bare_site.py").write_text(_BARE)
        words = [
            "-m",
            "uvicorn",
            "bare_site:app",
            "--port",
            str(port),
            "--no-access-log",
            "--log-level",
            "error",
        ]
        process = subprocess.Popen([sys.executable, *words], cwd=folder)
        try:
            until_it_answers(port)
            return Reading(load(f"http://127.0.0.1:{port}/"))
        finally:
            process.terminate()
            process.wait()
