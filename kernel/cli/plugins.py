"""`shoal plugins`: what is installed, what the configuration uses, what is broken and why."""

from __future__ import annotations

import attrs
import click

from shoal.config import load_config
from shoal.observe.commands import json_option, say
from shoal.observe.render import table
from shoal.registry.report import Row, report


@click.command()
@json_option()
def plugins(json_: bool) -> None:
    """List plugins by group, the chosen ones marked.

    Below the list is what is wrong with those that are broken. Exit status 1 if a chosen one is.
    """
    rows = report(load_config())
    say([attrs.asdict(row) for row in rows], lambda: as_text(rows), json_)
    if any(row.chosen and row.state == "broken" for row in rows):
        raise click.exceptions.Exit(1)


def as_text(rows: list[Row]) -> str:
    """Return the table, and below it one paragraph for each broken plugin."""
    headers = ["group", "name", "chosen", "state", "distribution", "target"]
    lines = [
        [row.group, row.name, row.chosen, row.state, f"{row.distribution} {row.version}", row.target]
        for row in rows
    ]
    complaints = [
        f"\n{row.error}" + (f"\n  wanted: {row.wanted}" if row.wanted else "") for row in rows if row.error
    ]
    return "\n".join([table(headers, lines), *complaints])
