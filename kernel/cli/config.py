"""`shoal config`: every setting, its value here, and where that came from."""

from __future__ import annotations

import attrs
import click

from shoal.cli.render import as_json, table
from shoal.config import load_config, settings


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON, with what each setting means and allows.")
def config(json_: bool) -> None:
    """Show every setting, its value in this folder and environment, and where the value came from."""
    loaded = load_config()
    if json_:
        rows = [
            attrs.asdict(setting)
            | {"value": getattr(loaded, setting.name), "from": loaded.where_from(setting.name)}
            for setting in settings()
        ]
        click.echo(as_json(rows))
        return
    lines = [
        [setting.name, repr(getattr(loaded, setting.name)), loaded.where_from(setting.name)]
        for setting in settings()
    ]
    click.echo(table(["setting", "value", "from"], lines))
