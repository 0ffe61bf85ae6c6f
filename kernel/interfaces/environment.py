"""EnvironmentStep: one part of the environment that a worker runs in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs


@attrs.frozen(kw_only=True)
class WorkerChanges:
    """What a worker process does to itself before it runs user code."""

    variables: Mapping[str, str] = attrs.field(factory=dict)  # environment variables to set
    path: Sequence[str] = ()  # goes in front of sys.path
    working_folder: str = ""  # becomes the current folder
    command: Sequence[str] = ()  # a prefix for the worker's command line; empty: fork from the zygote


class EnvironmentStep(ABC):
    """One key of `runtime_env`. `check` runs at the caller, `build` once per node and value, in the daemon's helper."""

    name: ClassVar[str]  # the key in runtime_env
    order: ClassVar[int]  # steps are applied in this order, smallest first
    __slots__ = ()

    @abstractmethod
    def check(self, value: Any) -> Any:
        """Return the value in canonical form (plain data). Raises ConfigError, naming key, value and cure."""

    @abstractmethod
    def build(self, value: Any, folder: str) -> WorkerChanges:
        """Make what the value asks for under `folder` (empty, this step's own; kept while in use).

        Raises RuntimeEnvSetup with the reason. May take long; called off the daemon's main thread.
        """
