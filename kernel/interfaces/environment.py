"""EnvironmentStep: one part of the environment that a worker runs in."""

from __future__ import annotations

import contextvars
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.errors import RuntimeEnvSetup

# When what is being built must be ready, by time.monotonic(); set around each `build`.
setup_deadline: contextvars.ContextVar[float] = contextvars.ContextVar("shoal_setup_deadline")


def seconds_left() -> float:
    """Return how long a step may still take, infinity without a bound. Raises RuntimeEnvSetup if its time is over."""
    left = setup_deadline.get(float("inf")) - time.monotonic()
    if left <= 0:
        raise RuntimeEnvSetup(
            "it was not ready in time; give runtime_env['config']['setup_timeout_seconds'] a larger number"
        )
    return left


@attrs.frozen(kw_only=True)
class WorkerChanges:
    """What a worker process does to itself before it runs user code."""

    variables: Mapping[str, str] = attrs.field(factory=dict)  # environment variables to set
    path: Sequence[str] = ()  # goes in front of sys.path
    working_folder: str = ""  # becomes the current folder
    programs: Sequence[str] = ()  # folders that go in front of PATH
    # What starts the worker's Python, of the node's version; empty: the node's own, forked in milliseconds. An item
    # with `{path}` is repeated for each file or folder that a worker needs, one with `{variable}` for the name of
    # each environment variable that it is given: for commands that show their program nothing else.
    command: Sequence[str] = ()
    hooks: Sequence[
        str
    ] = ()  # functions to call before work: "module.function", or "pickle:" and a pickle in base64
    # Modules to import before the worker is forked, by the process that forks all of them; left out where `command` is.
    preload: Sequence[str] = ()


class EnvironmentStep(ABC):
    """One key of `runtime_env`. `check` runs at the caller, `build` once per node and value, in a thread of its own."""

    name: ClassVar[str]  # the key in runtime_env
    order: ClassVar[int]  # steps are applied in this order, smallest first
    # Whether what `build` makes depends on nothing but the value, and nobody changes it: then it is kept in the node's
    # cache and serves later sessions too.
    cached: ClassVar[bool] = False
    excludes: ClassVar[frozenset[str]] = (
        frozenset()
    )  # keys that cannot stand beside this one; those of a job give way
    __slots__ = ()

    @abstractmethod
    def check(self, value: Any) -> Any:
        """Return the value in canonical form (plain data). Raises ConfigError, naming key, value and cure."""

    @abstractmethod
    def build(self, value: Any, folder: str) -> WorkerChanges:
        """Make what the value asks for under `folder` (empty, this step's own; kept while in use).

        Raises RuntimeEnvSetup with the reason. May take as long as `seconds_left()`. If it fails, or the machine does
        while it runs, the folder is thrown away.
        """
