"""`shoal config`: every setting, its value here, and where that came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import click

from shoal.config import load_config, settings
from shoal.observe.commands import json_option, say
from shoal.observe.render import table

# What is on the screen is on a screenshot the next moment.
_SECRET = ("password", "secret", "token")


@click.command()
@json_option("Print JSON, with what each setting means and allows.")
def config(json_: bool) -> None:
    """Show every setting, its value here, and where that came from.

    The value is the one that a session started in this folder with this environment would get. Passwords are not shown.
    """
    loaded = load_config()
    rows = [
        attrs.asdict(setting)
        | {"value": shown(getattr(loaded, setting.name)), "from": loaded.where_from(setting.name)}
        for setting in settings()
    ]
    lines = [[row["name"], repr(row["value"]), row["from"]] for row in rows]
    say(rows, lambda: table(["setting", "value", "from"], lines), json_)


def shown(value: Any) -> Any:
    """Return a value as it may be seen: in tables of options what is named like a secret is hidden."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: "(hidden)" if any(word in name.lower() for word in _SECRET) else shown(item)
        for name, item in value.items()
    }
