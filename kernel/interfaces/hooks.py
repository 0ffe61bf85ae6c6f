"""Hooks: what observers are told. Nobody is chosen, any number may listen.

An observer is an object, class instance or module with functions marked `@hookimpl`, registered as an entry point of
the group `shoal.hooks`. A function takes the event, or nothing if it only counts. It must be quick and must not call
Shoal: it runs inside the engine. One that raises is reported once and switched off; the program goes on.

    from shoal.interfaces.hooks import hookimpl

    @hookimpl
    def shoal_task_finished(event):
        durations.observe(event.duration)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from shoal.spec.events import (
        ActorDied,
        LogLines,
        ObjectSpilled,
        SessionEnded,
        SessionStarted,
        TaskFinished,
        WorkerDied,
    )

PROJECT = "shoal"
hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """Every hook by phase: when it is called, and in which process."""

    # A session's life, in the driver

    @hookspec
    def shoal_session_started(self, event: SessionStarted) -> None:
        """The session is ready for work. In the driver's process, once."""

    @hookspec
    def shoal_session_ended(self, event: SessionEnded) -> None:
        """Nothing of the session is left. In the driver's process, once."""

    # Work

    @hookspec
    def shoal_task_finished(self, event: TaskFinished) -> None:
        """The owner has recorded the result of a task or actor call. In the owner's process, once per attempt."""

    @hookspec
    def shoal_actor_died(self, event: ActorDied) -> None:
        """An actor is gone for good, or about to restart. In the process of its creator, once per death."""

    @hookspec
    def shoal_worker_died(self, event: WorkerDied) -> None:
        """A worker process is gone, meant or not. In the process that noticed first, once per worker."""

    # Data and output

    @hookspec
    def shoal_object_spilled(self, event: ObjectSpilled) -> None:
        """An object was moved to disk. In the process that moved it."""

    @hookspec
    def shoal_log_lines(self, event: LogLines) -> None:
        """Lines that a worker printed have come to the driver. In the driver's process, batched."""

    # Commands

    @hookspec
    def shoal_cli_commands(self, group: click.Group) -> None:
        """The `shoal` command line is being built: add commands with `group.add_command`. Before any is run."""


def hook_names() -> tuple[str, ...]:
    """Return the names of all hooks, sorted."""
    return tuple(sorted(name for name in vars(Hooks) if name.startswith("shoal_")))
