"""The option `--session`: which of this machine's sessions a command is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from shoal.config import load_config
from shoal.errors import ShoalError
from shoal.native.commands.seen import SeenSession, live_sessions, session_folders

F = TypeVar("F", bound=Callable[..., Any])


def session_option(what: str) -> Callable[[F], F]:
    """Give a command the option `--session`, which the shell completes; its function gets it as `session`."""
    return click.option(
        "--session",
        metavar="SESSION",
        help=f"{what}: its name or the end of it, its driver's process, or its folder.",
        shell_complete=_complete,
    )


def choose_live(session: str | None) -> SeenSession:
    """Return the session that was named, or the only one that lives. Raises click's error, listing those there are."""
    living = live_sessions(load_config().temp_dir)
    matching = [one for one in living if session is None or _fits(session, one.name, one.driver_pid)]
    if len(matching) == 1:
        return matching[0]
    raise click.ClickException(_complaint(session, len(matching), [one.name for one in living], "lives"))


def choose_folder(session: str | None) -> str:
    """Return the folder of the session that was named, living or dead; else of the one that lives, else of the last."""
    if session is not None and os.sep in session:
        if not os.path.isdir(session):
            raise click.ClickException(f"there is no folder {session}")
        return os.path.abspath(session)
    temp_dir = load_config().temp_dir
    living = {one.folder: one for one in live_sessions(temp_dir)}
    folders = session_folders(temp_dir)
    names = [os.path.basename(folder) for folder in folders]
    if session is None and not living and folders:
        return folders[-1]
    among = folders if session is not None else list(living)
    matching = [
        folder
        for folder in among
        if session is None
        or _fits(session, os.path.basename(folder), living[folder].driver_pid if folder in living else None)
    ]
    if len(matching) == 1:
        return matching[0]
    listed = names if session is not None else [one.name for one in living.values()]
    raise click.ClickException(_complaint(session, len(matching), listed[-10:], "is there"))


def _fits(session: str, name: str, driver_pid: int | None) -> bool:
    # Names begin with the time, so it is their end that tells two apart.
    return name == session or name.endswith(session) or session == str(driver_pid)


def _complaint(session: str | None, count: int, names: list[str], verb: str) -> str:
    listed = "".join(f"\n  {name}" for name in names)
    if count > 1:
        which = f"{count} sessions live" if session is None else f"{count} sessions are meant by {session!r}"
        return f"{which}; name one with --session:{listed}"
    if session is None:
        return f"no session {verb}: start one with shoal.init() in a program"
    return f"no session named {session!r} {verb}" + (f"; there are:{listed}" if names else "")


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    try:
        names = [one.name for one in live_sessions(load_config().temp_dir)]
    except (ShoalError, OSError):  # a wrong setting must not write into the line that is being typed
        return []
    return [name for name in names if name.startswith(incomplete)]
