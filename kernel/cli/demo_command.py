"""`shoal demo`: runs the demo and prints what ran where, how long it took and which plugins served it."""

from __future__ import annotations

import click

from shoal.cli.render import table
from shoal.config import load_config
from shoal.registry.groups import ENGINES, GROUPS, Picks
from shoal.registry.report import report


@click.command()
@click.option("--engine", default=None, help="Engine to run on; by default the configured one.")
@click.option("--files", type=click.IntRange(1), default=600, show_default=True, help="Files to read.")
def demo(engine: str | None, files: int) -> None:
    """Count the tokens of Python's standard library in parallel, and check against counting them in one process."""
    # Here, since the demo is a program like a user's: it imports the public API, which other verbs do not need.
    from shoal.cli.demo import run

    config = load_config({"engine": engine})
    outcome = run(config.engine, files)
    corpus, total = outcome.corpus, outcome.total

    kinds = ", ".join(f"{count:,} {kind}" for kind, count in total.kinds.most_common(4))
    click.echo(f"{len(corpus.spans):,} files, {corpus.size:,} bytes, {total.tokens:,} tokens: {kinds}, …\n")
    click.echo("What ran where")
    headers = ["node", "process", "tasks", "files", "tokens", "busy seconds", "array lies in memory"]
    click.echo(
        table(
            headers,
            [
                [
                    where.node[:8],
                    str(where.process),
                    where.tasks,
                    where.files,
                    where.tokens,
                    where.seconds,
                    where.memory,
                ]
                for where in outcome.places
            ],
        )
    )
    click.echo("\nHow long (seconds)")
    gain = outcome.serial_seconds / outcome.parallel_seconds
    click.echo(
        table(
            ["step", "seconds", "remark"],
            [
                ["start the session", outcome.start_seconds, config.engine],
                ["share the array", outcome.share_seconds, f"{corpus.size:,} bytes, written once"],
                ["count with tasks", outcome.parallel_seconds, f"{gain:.2f} times as fast as one process"],
                ["count in one process", outcome.serial_seconds, ""],
            ],
        )
    )
    click.echo("\nWhich plugins served it")
    groups = {ENGINES.name} | {
        group.name for group in GROUPS if outcome.has_processes and group.picks is not Picks.ALL
    }
    served = [row for row in report(config) if row.chosen and row.group in groups]
    click.echo(
        table(
            ["group", "name", "distribution"],
            [[row.group, row.name, f"{row.distribution} {row.version}"] for row in served],
        )
    )
    if not outcome.agrees:
        raise click.ClickException("the tasks and the single process counted differently")
    click.echo("\nBoth counts agree.")
