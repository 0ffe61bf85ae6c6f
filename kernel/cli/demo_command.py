"""`shoal demo`: runs the demo and prints what ran where, how long it took and which plugins served it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs
import click

from shoal.config import Config, load_config
from shoal.observe.commands import json_option, say
from shoal.observe.render import table

if TYPE_CHECKING:
    from shoal import SessionContext
    from shoal.cli.demo import Outcome
    from shoal.registry.report import Row


@click.command()
@click.option("--engine", default=None, help="Engine to run on; by default the configured one.")
@click.option("--files", type=click.IntRange(1), default=600, show_default=True, help="Files to read.")
@click.option("--stay", is_flag=True, help="Keep the session until Ctrl-C, to look at its dashboard.")
@json_option("Print JSON: the counts, what ran where, how long it took, and which plugins served it.")
def demo(engine: str | None, files: int, stay: bool, json_: bool) -> None:
    """Count the tokens of Python's standard library in parallel.

    They are counted in one process as well, and both counts are compared: exit status 1 if they differ.
    """
    # Here, since the demo is a program like a user's: it imports the public API, which other verbs do not need.
    from shoal.cli.demo import run

    config = load_config({"engine": engine})
    outcome = run(config.engine, files, _stay if stay else None)
    served = _served(config, outcome)
    say(_plain(config, outcome, served), lambda: _as_text(config, outcome, served), json_)
    if not outcome.agrees:
        raise click.ClickException("the tasks and the single process counted differently")
    if not json_:
        click.echo("\nBoth counts agree.")


def _stay(session: SessionContext) -> None:
    """Say where the dashboard is, and wait for Ctrl-C."""
    import threading

    if not session.dashboard_url:
        raise click.ClickException("sessions of this engine have no dashboard to look at: leave --stay out")
    click.echo(f"The demo's tasks are at http://{session.dashboard_url.removeprefix('http://')}.")
    click.echo(f"`shoal dashboard --session {session['session_name'][-4:]}` prints a link that logs in.")
    click.echo("Ctrl-C goes on.", nl=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _served(config: Config, outcome: Outcome) -> list[Row]:
    from shoal.registry.groups import ENGINES, GROUPS, Picks
    from shoal.registry.report import report

    groups = {ENGINES.name} | {
        group.name for group in GROUPS if outcome.has_processes and group.picks is not Picks.ALL
    }
    return [row for row in report(config) if row.chosen and row.group in groups]


def _plain(config: Config, outcome: Outcome, served: list[Row]) -> dict[str, Any]:
    return {
        "engine": config.engine,
        "files": len(outcome.corpus.spans),
        "bytes": outcome.corpus.size,
        "tokens": outcome.total.tokens,
        "kinds": dict(outcome.total.kinds.most_common()),
        "agrees": outcome.agrees,
        "dashboard": outcome.dashboard,
        "session": outcome.session,
        "places": [attrs.asdict(place) for place in outcome.places],
        "seconds": {
            "start": outcome.start_seconds,
            "share": outcome.share_seconds,
            "tasks": outcome.parallel_seconds,
            "one process": outcome.serial_seconds,
        },
        "plugins": [{"group": row.group, "name": row.name, "version": row.version} for row in served],
    }


def _as_text(config: Config, outcome: Outcome, served: list[Row]) -> str:
    corpus, total = outcome.corpus, outcome.total
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in total.kinds.most_common(4))
    gain = outcome.serial_seconds / outcome.parallel_seconds
    places = table(
        ["node", "process", "tasks", "files", "tokens", "busy seconds", "array lies in memory"],
        [
            [one.node[:8], str(one.process), one.tasks, one.files, one.tokens, one.seconds, one.memory]
            for one in outcome.places
        ],
    )
    steps = table(
        ["step", "seconds", "remark"],
        [
            ["start the session", outcome.start_seconds, config.engine],
            ["share the array", outcome.share_seconds, f"{corpus.size:,} bytes, written once"],
            ["count with tasks", outcome.parallel_seconds, f"{gain:.2f} times as fast as one process"],
            ["count in one process", outcome.serial_seconds, ""],
        ],
    )
    plugins = table(
        ["group", "name", "distribution"],
        [[row.group, row.name, f"{row.distribution} {row.version}"] for row in served],
    )
    return (
        f"{len(corpus.spans):,} files, {corpus.size:,} bytes, {total.tokens:,} tokens: {kinds}, …\n\n"
        f"What ran where\n{places}\n\nHow long (seconds)\n{steps}\n\nWhich plugins served it\n{plugins}"
        + _dashboard(outcome)
    )


def _dashboard(outcome: Outcome) -> str:
    """Say where the demo can be looked at: its session is over, and what it has left shows the same."""
    if not outcome.dashboard:
        return ""
    return (
        f"\n\nThe dashboard was at {outcome.dashboard}, and shows these tasks from what the session has left:"
        f"\n  shoal dashboard --session {outcome.session[-4:]}"
    )
