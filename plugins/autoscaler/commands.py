"""`shoal up`, `down`, `attach`, `exec`, `submit`: a cluster that a file describes."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, NoReturn

import attrs
import click

from shoal.observe.commands import json_option, say

if TYPE_CHECKING:
    from shoal.autoscaler.home import Home

# Functions import what they need by themselves, since `shoal --help` imports this module too.

_FILE = click.argument("cluster", type=click.Path(), metavar="CLUSTER.TOML")
_HERE = click.option(
    "--here", is_flag=True, hidden=True, help="The head is on this machine, whatever the file says."
)


# Options come before the cluster's file: what follows belongs to the command.
_WORDS_FOLLOW = {"allow_interspersed_args": False}
_STATUS = '"$@" 2>&1; printf "\\n%s\\n" $?'


def _home(path: str, here: bool = False) -> Home:
    from shoal.autoscaler.home import home_of
    from shoal.autoscaler.spec import read_cluster

    return home_of(read_cluster(path), here)


@click.command()
@_FILE
@_HERE
@json_option("Print JSON.")
def up(cluster: str, here: bool, json_: bool) -> None:
    """Start the cluster that a file describes: its head, and an autoscaler that launches machines as work needs them.

    If its head lives already, the autoscaler takes over what has changed in the file.
    """
    home = _home(cluster, here)
    head, started = home.up()
    plain = {"name": home.spec.name, "started": started, **attrs.asdict(head)}
    say(plain, lambda: _up_as_text(cluster, plain), json_)


def _up_as_text(cluster: str, plain: dict[str, object]) -> str:
    first = "is up" if plain["started"] else "was up already, and takes over the file"
    return "\n".join(
        [
            f"The cluster {plain['name']!r} {first}: its head is at {plain['address']}.",
            f"To run a program there:  shoal submit {cluster} PROGRAM.py",
            f"To look at it:           shoal exec {cluster} shoal status",
            f"To end it:               shoal down {cluster}",
        ]
    )


@click.command()
@_FILE
@_HERE
@click.option("--workers-only", is_flag=True, help="End the machines and leave the head.")
@click.option(
    "--keep-min", is_flag=True, help="With --workers-only: leave as many machines as each type's min."
)
@json_option("Print JSON.")
def down(cluster: str, here: bool, workers_only: bool, keep_min: bool, json_: bool) -> None:
    """End the cluster that a file describes: its head, and every machine that was launched for it."""
    if keep_min and not workers_only:
        raise click.UsageError("--keep-min goes with --workers-only: without a head no machine is of use")
    home = _home(cluster, here)
    count = home.down(workers_only, keep_min)
    what = "its head stays" if workers_only else "its head has ended"
    text = f"The cluster {home.spec.name!r}: {count} machines were ended, and {what}."
    say({"name": home.spec.name, "machines": count, "head": workers_only}, text, json_)


@click.command()
@_FILE
@json_option("Print as JSON how programs beside the head find the cluster, and open nothing.")
def attach(cluster: str, json_: bool) -> None:
    """Open a shell beside the cluster's head, in which programs find the cluster."""
    home = _home(cluster)
    if json_:
        say({"host": home.spec.head.host, **home.variables()}, "", json_)
    else:
        sys.exit(home.run([], terminal=True))


@click.command("exec", context_settings=_WORDS_FOLLOW)
@_FILE
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@json_option("Print the exit status and what the command printed as JSON, when it has ended.")
def exec_command(cluster: str, command: tuple[str, ...], json_: bool) -> None:
    """Run a COMMAND beside the cluster's head, in which programs find the cluster; one word is a line for its shell."""
    words = ["sh", "-c", command[0]] if len(command) == 1 else list(command)
    _run(_home(cluster), words, json_)


@click.command(context_settings=_WORDS_FOLLOW)
@_FILE
@click.argument("program", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@json_option("Print the exit status and what the program printed as JSON, when it has ended.")
def submit(cluster: str, program: str, arguments: tuple[str, ...], json_: bool) -> None:
    """Run a PROGRAM of Python beside the cluster's head; it is copied there if that is elsewhere."""
    home = _home(cluster)
    python = home.spec.head.python if home.spec.head.host else sys.executable
    _run(home, [*shlex.split(python), home.bring(program), *arguments], json_)


def _run(home: Home, words: list[str], json_: bool) -> NoReturn:
    if not json_:
        sys.exit(home.run(words))
    # What goes wrong is told by the status, so that what was printed before is not lost.
    said = home.output(["sh", "-c", _STATUS, "sh", *words]).decode(errors="replace")
    output, _, status = said.rstrip("\n").rpartition("\n")
    say({"status": int(status), "output": output}, "", json_)
    sys.exit(int(status))
