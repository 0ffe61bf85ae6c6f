"""The `shoal` command: its own verbs and those that plugins add through the hook `shoal_cli_commands`."""

from __future__ import annotations

from typing import Any

import click

from shoal.cli.config import config
from shoal.cli.demo_command import demo
from shoal.cli.plugins import plugins
from shoal.errors import PluginError, ShoalError
from shoal.registry.listeners import Listeners


class Verbs(click.Group):
    """A group whose commands end with a message, not with a traceback, when Shoal says what is wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An error of Shoal's own becomes one of click's: its text and exit status 1."""
        try:
            return super().invoke(ctx)
        except ShoalError as error:
            raise click.ClickException(str(error)) from error


def build() -> click.Group:
    """Return the whole command, with the verbs of installed plugins. A broken plugin is reported, and left out."""
    group = Verbs("shoal", help="Tasks, actors and objects on many processes and machines.")
    click.version_option(package_name="shoal")(group)
    for command in (config, demo, plugins):
        group.add_command(command)
    observers = Listeners()
    try:
        observers.find_installed()
        observers.start()
    except PluginError as error:
        # `shoal plugins` must run above all when a plugin is broken.
        click.echo(f"Warning: commands of plugins are left out: {error}", err=True)
    else:
        observers.emit("shoal_cli_commands", group)
    return group


def main() -> None:
    """Run the command line of this process. Never returns: it exits with the command's status."""
    build().main(prog_name="shoal")
