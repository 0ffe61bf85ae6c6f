"""`shoal sessions`: what runs on this machine."""

from __future__ import annotations

import time

import attrs
import click

from shoal.config import load_config
from shoal.native.commands.seen import SeenSession, live_sessions
from shoal.observe.commands import json_option, say
from shoal.observe.render import table

_MEBIBYTE = 1 << 20


@click.command()
@json_option("Print JSON, with each session's processes.")
def sessions(json_: bool) -> None:
    """List the sessions that live on this machine.

    Memory is that of a session's processes without its driver, in MiB; objects are its part of shared memory.
    """
    living = live_sessions(load_config().temp_dir)
    plain = [attrs.asdict(one) | {"memory_bytes": one.memory_bytes} for one in living]
    say(plain, lambda: _as_text(living), json_)


def _as_text(living: list[SeenSession]) -> str:
    if not living:
        return "No session lives."
    return table(
        ["session", "driver", "since", "workers", "memory", "objects", "program"],
        [
            [
                one.name,
                str(one.driver_pid),
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.since)),
                sum(process.role == "worker" for process in one.processes),
                one.memory_bytes // _MEBIBYTE,
                one.objects_bytes // _MEBIBYTE,
                one.program,
            ]
            for one in living
        ],
    )
