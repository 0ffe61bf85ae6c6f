"""`shoal stack`: where every process of a session is in its Python code, seen by py-spy from outside."""

from __future__ import annotations

from typing import Any

import attrs
import click

from shoal.native.commands.choose import choose_live, session_option
from shoal.native.commands.seen import SeenProcess
from shoal.observe.commands import json_option, say

_AT_ONCE = 4  # each pauses the process that it looks at
_OURS = ("driver", "daemon", "zygote", "worker")


@attrs.frozen
class Stacks:
    """What was seen of one process: its threads, or why not."""

    process: SeenProcess
    threads: list[dict[str, Any]]
    error: str = ""


@click.command()
@session_option("Session to look into, if several live")
@click.option(
    "--worker", metavar="WORKER", help="Only this worker: its identifier or the end of it, or its process."
)
@click.option("--locals", "locals_", is_flag=True, help="Show local variables too.")
@json_option()
def stack(session: str | None, worker: str | None, locals_: bool, json_: bool) -> None:
    """Show the Python stacks of a session's processes.

    They are read from outside (by py-spy), so it works on a process that hangs. Nothing in the session is changed; each
    process stands still for some milliseconds. Exit status 1 if a process could not be read.
    """
    from concurrent.futures import ThreadPoolExecutor

    from shoal.native.process.pyspy import find_py_spy

    program = find_py_spy()
    chosen = choose_live(session)
    wanted = [
        one
        for one in chosen.processes
        if one.role in _OURS and (worker is None or one.worker.endswith(worker) or worker == str(one.pid))
    ]
    if not wanted:
        raise click.ClickException(
            f"session {chosen.name} has no worker {worker!r}; `shoal sessions --json` lists them"
        )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        seen = list(pool.map(lambda one: _look(program, one, locals_), wanted))
    plain = {
        "session": chosen.name,
        "processes": [
            attrs.asdict(one.process) | {"threads": one.threads, "error": one.error} for one in seen
        ],
    }
    say(plain, lambda: "\n\n".join(map(_as_text, seen)), json_)
    if any(one.error for one in seen):
        raise click.exceptions.Exit(1)


def _look(program: str, process: SeenProcess, locals_: bool) -> Stacks:
    from shoal.native.process.pyspy import dump

    return Stacks(process, *dump(program, process.pid, locals_))


def _as_text(seen: Stacks) -> str:
    one = seen.process
    title = (
        f"{one.role} {one.worker} (process {one.pid})" if one.worker else f"{one.role} (process {one.pid})"
    )
    if one.doing:
        title += f", started last: {one.doing}"
    if seen.error:
        return f"{title}\n  could not be read: {seen.error}"
    return "\n".join([title, *(_thread(thread) for thread in seen.threads)])


def _thread(thread: dict[str, Any]) -> str:
    state = "running" if thread.get("active") else "waiting"
    holds = ", holds the interpreter" if thread.get("owns_gil") else ""
    lines = [f"  thread {thread.get('thread_name') or thread.get('os_thread_id') or '?'}: {state}{holds}"]
    for frame in thread.get("frames", []):
        lines.append(f"    {frame['name']} ({frame.get('filename')}:{frame.get('line')})")
        for local in frame.get("locals") or []:
            lines.append(f"        {local['name']} = {local.get('repr')}")
    return "\n".join(lines)
