"""The life of a worker that was not forked from the zygote with everything loaded: see become.py and boot.py."""

from __future__ import annotations

import os
import sys

import msgspec

from shoal.native.process.session import Session
from shoal.native.worker.main import live, prepare


def run(folder: str, target: str, own: list[str]) -> None:
    """Live the worker's life in the program that the process has become. `own` are its own package folders."""
    session = Session.read(folder)
    with open(target, "rb") as file:
        request = msgspec.msgpack.decode(file.read())
    os.unlink(target)
    request["path"] = [*request["path"], *own]
    sys.path[:] = [*request["path"], *session.path]
    prepare(session)
    live(session, request)
