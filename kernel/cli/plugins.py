"""`shoal plugins`: what is installed, what the configuration uses, what is broken and why."""

from __future__ import annotations

import attrs
import click

from shoal.cli.render import as_json, table
from shoal.config import load_config
from shoal.registry.report import Row, report


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def plugins(json_: bool) -> None:
    """List plugins by group, the chosen ones marked. Exit status 1 if a chosen one is broken."""
    rows = report(load_config())
    click.echo(as_json([attrs.asdict(row) for row in rows]) if json_ else as_text(rows))
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
