"""`shoal dashboard`: the address and the token, and pages of sessions that have ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from shoal.observe.commands import json_option, say

if TYPE_CHECKING:
    from shoal.interfaces.looking import Watch


@click.command("dashboard")
@click.option(
    "--session",
    "--address",
    "session",
    metavar="SESSION",
    help="A session's folder, living or dead, the end of its name, its driver's process, or a cluster's HOST:PORT. "
    "Default: the only one that lives here.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="For a dead session: where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="For a dead session: the port; default: a free one.",
)
@json_option("Print the address and the token as JSON.")
def dashboard_command(session: str | None, host: str, port: int, json_: bool) -> None:
    """Print where a session's dashboard is, and how to log in.

    A living session's head opens the port if it is not. Of a dead session's folder the pages are served here, read
    only, until Ctrl-C.
    """
    from shoal.interfaces.services import service_token
    from shoal.looking import watch

    watching = watch(session)
    try:
        if not watching.is_live:
            _serve_folder(watching, host, port, json_)
            return
        url = watching.dashboard()
        with open(os.path.join(watching.folder, "token"), "rb") as file:
            token = service_token(file.read())
    finally:
        watching.close()
    _tell(url, token, json_)


def _tell(url: str, token: str, json_: bool) -> None:
    link = f"{url}/#token={token}"
    text = f"The dashboard is at {url}\n\nLog in by this link:   {link}\nor there with the token: {token}"
    say({"url": url, "token": token, "link": link}, text, json_)


def _serve_folder(watching: Watch, host: str, port: int, json_: bool) -> None:
    import secrets
    import signal
    import socket

    from shoal.dashboard.server import serve
    from shoal.interfaces.services import WebSetup

    if host not in ("127.0.0.1", "::1", "localhost"):
        raise click.UsageError(
            "pages of a dead session are served on loopback only; use a tunnel from elsewhere"
        )
    sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    shown = f"[{host}]" if ":" in host else host
    setup = WebSetup(
        session=watching.session,
        folder=watching.folder,
        is_live=False,
        url=f"http://{shown}:{sock.getsockname()[1]}",
        token=secrets.token_hex(32),
        sock=sock,
    )
    _tell(setup.url, setup.token, json_)
    if not json_:
        click.echo("\nThe session has ended; its pages are served until Ctrl-C.")
    signal.signal(signal.SIGTERM, lambda *_: setup.ended.set())
    with sock:
        serve(setup)
