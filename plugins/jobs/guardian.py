"""Runs a job's command and sees to its end: whatever the command starts ends with it, also what became a daemon.

A program of its own that imports nothing of Shoal: `python -I guardian.py GRACE_SECONDS COMMAND…`. Its standard
output is one JSON object a line: `{"pid": …}` when the command runs, `{"error": …}` if it cannot be started, and
`{"exit": …, "left": …, "stopped": …}` at the end, with a negative number for a signal. A line on its standard input, or
that input's end (whoever asked for the command has died), stops the command: SIGTERM, and SIGKILL after GRACE_SECONDS.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_CHILD_SUBREAPER = 36
_LEFT_SECONDS = 1.0  # what a command has left behind is given this long after SIGTERM
_POLL_SECONDS = 0.05


def main() -> None:
    """Run the command of the arguments."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    # Children whose parents end become ours, so that a daemon cannot get away.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        # What it prints goes to our standard error, which is the job's log.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=2,
            start_new_session=True,
            preexec_fn=_default_signals,
        )
    except (OSError, ValueError) as error:
        _say(error=f"{type(error).__name__}: {error}")
        return
    _say(pid=child.pid)
    stopped = _wait(child, grace)
    code = child.wait()
    left = _end_rest()
    _say(exit=code, left=left, stopped=stopped)


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _wait(child: subprocess.Popen[bytes], grace: float) -> bool:
    """Wait for the command's end or for being told to stop it; return whether it was stopped."""
    gone = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(gone, select.POLLIN)
        poll.register(0, select.POLLIN | select.POLLHUP)
        if any(descriptor == gone for descriptor, _ in poll.poll()):
            return False
        poll.unregister(0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        if not poll.poll(grace * 1_000):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.kill()
        return True
    finally:
        os.close(gone)


def _end_rest() -> int:
    """End every process that the command has left; return how many there were."""
    seen: set[int] = set()
    number: int = signal.SIGTERM
    end = time.monotonic() + _LEFT_SECONDS
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        living = _descendants()
        if not living:
            return len(seen)
        if time.monotonic() > end:
            number = signal.SIGKILL
        for process in living:
            if process not in seen or number == signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, number)
            seen.add(process)
        if time.monotonic() > end + 10 * _LEFT_SECONDS:
            return len(seen)  # stuck in the operating system: nobody can do more
        time.sleep(_POLL_SECONDS)


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        mine = children.get(waiting.pop(), [])
        found += mine
        waiting += mine
    return found


def _say(**facts: object) -> None:
    with contextlib.suppress(OSError):  # whoever asked is gone
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
