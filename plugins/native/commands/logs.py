"""`shoal logs`: what workers and the daemon of a session have printed."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator

import attrs
import click

from shoal.native.commands.choose import choose_folder, session_option
from shoal.native.commands.log_files import Followed, tail
from shoal.native.commands.seen import is_live, live_sessions
from shoal.observe.commands import json_option
from shoal.observe.marks import MarkedLine, MarkReader, with_marks

_LOOK_SECONDS = 0.1
_ALL = sys.maxsize
_NAME = re.compile(r"(?:worker-(?P<worker>[0-9a-f]+)|(?P<daemon>daemon))\.(?:log|err)(?P<older>\.\d+)?$")


@attrs.frozen
class Source:
    """One log and whose it is."""

    path: str
    who: str  # "worker" or "daemon"
    worker: str


@click.command()
@session_option("Session, living or dead; by default the one that lives, else the last")
@click.option(
    "--worker", metavar="WORKER", help="Only this worker: its identifier or the end of it, or its process."
)
@click.option("--task", metavar="TASK", help="Only what this task printed: its identifier or the end of it.")
@click.option(
    "--actor", metavar="ACTOR", help="Only what this actor printed: its identifier or the end of it."
)
@click.option("--grep", metavar="PATTERN", help="Only lines in which this regular expression is found.")
@click.option("--daemon", is_flag=True, help="Only the daemon.")
@click.option(
    "--tail", "lines", type=click.IntRange(0), default=1000, show_default=True, help="Last lines of each."
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is printed, until the session ends.")
@json_option("Print one JSON object a line.")
def logs(
    session: str | None,
    worker: str | None,
    task: str | None,
    actor: str | None,
    grep: str | None,
    daemon: bool,
    lines: int,
    follow: bool,
    json_: bool,
) -> None:
    """Show what a session's workers and daemon on this machine have printed.

    Logs are kept for a week after the session has ended, of the last twenty sessions.
    """
    folder = choose_folder(session)
    ending = _ending(worker, folder)
    wanted = _Wanted(task or "", actor or "", _pattern(grep))
    shown = _Shown(wanted, json_)
    whole = wanted != _Wanted()  # then the last lines are counted of what is wanted
    followed: dict[Source, Followed] = {}
    found = False
    while True:
        live = follow and is_live(folder)  # asked before reading: what came before the end is still read
        for source in _sources(folder):
            if (daemon and source.who != "daemon") or (
                ending is not None and not source.worker.endswith(ending)
            ):
                continue
            if ending is not None and source.who != "worker":
                continue
            found = True
            if not follow:
                shown.say(source, tail(source.path, _ALL if whole else with_marks(lines)), lines)
                continue
            if source not in followed:
                followed[source] = Followed(source.path, _ALL if whole else with_marks(lines))
                shown.say(source, followed[source].new_lines(), lines)
            else:
                shown.say(source, followed[source].new_lines())
        if not live:
            break
        time.sleep(_LOOK_SECONDS)
    for source, one in followed.items():
        shown.say(source, one.end())
    if not found and (worker is not None or daemon):
        what = (
            "its daemon has printed nothing"
            if daemon
            else f"it has no worker {worker!r} that printed anything"
        )
        raise click.ClickException(f"session {os.path.basename(folder)}: {what}")


def _ending(worker: str | None, folder: str) -> str | None:
    """Return how the worker's identifier ends; a process is looked up among those that live."""
    if worker is None or not worker.isdecimal():
        return worker
    by_pid = {
        str(process.pid): process.worker
        for session in live_sessions(os.path.dirname(folder))
        for process in session.processes
        if session.folder == folder and process.worker
    }
    return by_pid.get(worker, worker)


def _sources(folder: str) -> Iterator[Source]:
    logs = os.path.join(folder, "logs")
    try:
        names = sorted(os.listdir(logs))
    except FileNotFoundError:  # a session that ends with empty logs takes them along
        return
    found: dict[str, Source] = {}
    for name in names:
        matched = _NAME.match(name)
        if matched:
            # Between being put aside and the next line only the older file is there.
            path = os.path.join(logs, name.removesuffix(matched["older"] or ""))
            who = "worker" if matched["worker"] else "daemon"
            found.setdefault(path, Source(path, who, matched["worker"] or ""))
    yield from found.values()


@attrs.frozen
class _Wanted:
    """Which lines are shown; "" and None leave all."""

    task: str = ""
    actor: str = ""
    pattern: re.Pattern[str] | None = None

    def has(self, line: MarkedLine) -> bool:
        return (
            line.task.endswith(self.task)
            and line.actor.endswith(self.actor)
            and (self.pattern is None or self.pattern.search(line.text) is not None)
        )


class _Shown:
    """Prints lines, and knows of each log which call its lines are of."""

    def __init__(self, wanted: _Wanted, as_json: bool) -> None:
        self._wanted = wanted
        self._as_json = as_json
        self._readers: dict[Source, MarkReader] = {}

    def say(self, source: Source, lines: list[str], last: int | None = None) -> None:
        """Print those lines of a log that are wanted, of them the last ones."""
        reader = self._readers.setdefault(source, MarkReader())
        wanted = [line for line in reader.read(lines) if self._wanted.has(line)]
        for line in wanted if last is None else wanted[len(wanted) - last if last < len(wanted) else 0 :]:
            self._say(source, line)

    def _say(self, source: Source, line: MarkedLine) -> None:
        if self._as_json:
            plain = {"from": source.who, "worker": source.worker, "task": line.task, "actor": line.actor}
            click.echo(json.dumps({**plain, "line": line.text}, ensure_ascii=False))
        else:
            who = f"{source.who} {source.worker}" if source.worker else source.who
            click.echo(f"{who}: {line.text}")


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise click.UsageError(f"--grep {text!r} is no regular expression: {error}") from None
