"""What commands of the `shoal` command line have in common, ours and those of plugins: the option `--json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from shoal.observe.render import as_json

F = TypeVar("F", bound=Callable[..., Any])


def json_option(help: str = "Print JSON.") -> Callable[[F], F]:  # noqa: A002  # as click calls it
    """Give a command the option `--json`; its function gets it as `json_`.

    Example:
        @click.command()
        @json_option()
        def greet(json_: bool) -> None:
            say({"greeting": "hello"}, "hello", json_)
    """
    return click.option("--json", "json_", is_flag=True, help=help)


def say(value: Any, text: str | Callable[[], str], json_: bool) -> None:
    """Print a value as JSON if that was asked for, else the text for people (or what makes it)."""
    if json_:
        click.echo(as_json(value))
    else:
        click.echo(text() if callable(text) else text)
