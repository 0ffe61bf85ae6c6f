"""`shoal debug`: brings a person to calls that stand still."""

from __future__ import annotations

import os
import selectors
import socket
import sys
from collections.abc import Mapping
from typing import Any

import click

from shoal.observe.commands import json_option, say
from shoal.observe.render import table

_CONNECT_SECONDS = 10.0
_CHUNK = 1 << 16


@click.command("debug")
@click.option(
    "--session",
    "--address",
    "session",
    metavar="SESSION",
    help="A session's folder, the end of its name, its driver's process, or a cluster's HOST:PORT. Default: the only "
    "one that lives here.",
)
@json_option("Print what stands still as JSON, and do not go there.")
@click.argument("which", required=False)
def debug_command(session: str | None, json_: bool, which: str | None) -> None:
    """Go to a call that stands still at a breakpoint, or after it has raised.

    WHICH is the identifier of one of them; without it those that stand still on this machine are listed, or, if
    there is only one, that is it. `breakpoint()` in a task or actor stops it; the setting post_mortem stops those
    that raise.
    """
    from shoal.debugging import stopped_calls
    from shoal.looking import look

    calls = stopped_calls(look(session).folder)
    if json_ or (which is None and len(calls) != 1):
        plain = [{name: value for name, value in call.items() if name != "secret"} for call in calls]
        say(plain, lambda: _listed(calls), json_)
        return
    matching = [call for call in calls if which is None or call["id"].startswith(which)]
    if len(matching) != 1:
        there = ", ".join(call["id"] for call in calls) or "none"
        raise click.ClickException(f"{len(matching)} calls are meant by {which!r}; there are: {there}")
    call = matching[0]
    if "secret" not in call:
        say(call, call["text"], json_)
        return
    click.echo(
        f"{call['function']} at {call['file']}:{call['line']} (pid {call['pid']}); c goes on, Ctrl-D too",
        err=True,
    )
    _visit(call)


def _listed(calls: list[dict[str, Any]]) -> str:
    if not calls:
        return "Nothing stands still on this machine."
    rows = [
        [
            call["id"],
            call["name"],
            call["function"],
            f"{call['file']}:{call['line']}",
            str(call["pid"]),
            call["error"],
        ]
        for call in calls
    ]
    return table(["id", "name", "function", "where", "pid", "error"], rows)


def _visit(call: Mapping[str, Any]) -> None:
    """Join the terminal and the debugger until one of them has no more to say."""
    try:
        link = socket.create_connection(("127.0.0.1", call["port"]), _CONNECT_SECONDS)
    except OSError as error:
        raise click.ClickException(f"it stands still no more, or somebody else is there: {error}") from None
    with link, selectors.DefaultSelector() as selector:
        link.settimeout(None)
        link.sendall(call["secret"].encode() + b"\n")
        selector.register(link, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is link:
                    data = _received(link)
                    if not data:
                        click.echo("\nThe call goes on.", err=True)
                        return
                    os.write(sys.stdout.fileno(), data)
                elif not _typed(link):
                    selector.unregister(sys.stdin)


def _received(link: socket.socket) -> bytes:
    try:
        return link.recv(_CHUNK)
    except OSError:
        return b""


def _typed(link: socket.socket) -> bool:
    """Send what was typed; return False at its end."""
    data = os.read(sys.stdin.fileno(), _CHUNK)
    try:
        if data:
            link.sendall(data)
        else:
            link.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return bool(data)
