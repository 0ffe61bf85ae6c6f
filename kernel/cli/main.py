"""The `shoal` command: its own verbs, and those of plugins. A verb is imported when it is run or its help is wanted.

A plugin adds a verb by an entry point of the group `shoal.commands`, whose name is the verb's and whose target is a
`click.Command`; or, if it is an observer anyway, by the hook `shoal_cli_commands`. The verbs of engines come in so too.

The exit status is 0 if it was done, 1 if it could not be done (the reason is on standard error) or whoever read the
output has gone away, 2 if the words were wrong, 130 after Ctrl-C.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import TYPE_CHECKING, Any

import click

from shoal.errors import PluginError, ShoalError

if TYPE_CHECKING:
    from shoal.registry.discover import Found

# Verb: module and function, and the first line of its help, which stands here so that listing verbs imports none.
OWN: dict[str, tuple[str, str]] = {
    "bench": ("shoal.cli.bench:bench", "Measure Shoal beside Ray and beside the machine's floor."),
    "completion": (
        "shoal.cli.completion:completion",
        "Print what makes a shell complete the words of `shoal`.",
    ),
    "config": ("shoal.cli.config:config", "Show every setting, its value here, and where that came from."),
    "demo": ("shoal.cli.demo_command:demo", "Count the tokens of Python's standard library in parallel."),
    "doctor": ("shoal.cli.doctor:doctor", "Look for what is wrong on this machine, and say what to mend."),
    "plugins": ("shoal.cli.plugins:plugins", "List plugins by group, the chosen ones marked."),
}
_INTERRUPTED = 130


class Verbs(click.Group):
    """A group that knows its verbs' names and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs, sorted."""
        self._ask_observers()
        return sorted({*OWN, *self._installed(), *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a verb; None if there is none of that name. Raises click's error for a broken plugin."""
        if cmd_name in OWN:
            module, _, name = OWN[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        if cmd_name in self._installed():
            try:
                return self._load(cmd_name)
            except PluginError as error:
                raise click.ClickException(str(error)) from error
        self._ask_observers()
        return self.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb in the words. Raises click's error, with the verb that may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not close or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs below the help. A broken plugin's is in it, and says so."""
        rows = []
        for name in self.list_commands(ctx):
            if name in OWN:
                rows.append((name, OWN[name][1]))
                continue
            try:
                command = self.get_command(ctx, name)
            except click.ClickException:
                rows.append((name, "(broken: `shoal plugins` says why)"))
                continue
            if command is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(limit=80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An error of Shoal's own becomes one of click's: its text and exit status 1."""
        try:
            return super().invoke(ctx)
        except ShoalError as error:
            raise click.ClickException(str(error)) from error

    def _installed(self) -> dict[str, list[Found]]:
        # Here, since the verbs of our own need no look at what is installed, which takes 50 ms.
        from shoal.registry.discover import find
        from shoal.registry.groups import COMMANDS

        found: dict[str, list[Found]] = {}
        for one in find(COMMANDS):
            found.setdefault(one.name, []).append(one)
        return found

    def _load(self, name: str) -> click.Command:
        from shoal.errors import describe
        from shoal.registry.check import broken
        from shoal.registry.discover import refuse_doubles
        from shoal.registry.drivers import load_found
        from shoal.registry.groups import COMMANDS

        found = self._installed()[name]
        refuse_doubles(COMMANDS, found)
        command: object = load_found(COMMANDS, found[0])
        if not isinstance(command, click.Command):
            raise broken(COMMANDS, found[0], f"must be a click.Command, but is {describe(command)}")
        return command

    def _ask_observers(self) -> None:
        """Let observers add their verbs, once. A broken observer is reported, and its verbs are left out."""
        if self.context_settings.get("obj") is self:
            return
        self.context_settings["obj"] = self
        from shoal.registry.listeners import Listeners

        observers = Listeners()
        try:
            observers.find_installed()
            observers.start()
        except PluginError as error:
            # `shoal plugins` must run above all when a plugin is broken.
            click.echo(f"Warning: commands of observers are left out: {error}", err=True)
        else:
            observers.emit("shoal_cli_commands", self)


def build() -> click.Group:
    """Return the whole command."""
    group = Verbs("shoal", help="Tasks, actors and objects on many processes and machines.")
    click.version_option(package_name="shoal")(group)
    return group


def main() -> None:
    """Run the command line of this process. Never returns: it exits with the command's status."""
    try:
        # Not click's own mode, in which Ctrl-C ends with the status of any other failure.
        result = build().main(prog_name="shoal", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(_INTERRUPTED)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
