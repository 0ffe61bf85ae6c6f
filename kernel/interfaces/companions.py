"""Companion: a process of its own that runs beside a cluster's head, for as long as it does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import attrs

if TYPE_CHECKING:
    from shoal.config import Config


@attrs.frozen(kw_only=True)
class CompanionHome:
    """Where a companion runs."""

    address: str  # host:port of the head
    folder: str  # of the session of the head's node; its logs go below, to logs/
    temp_dir: str  # folder of session folders
    credentials_file: str  # the cluster's credentials
    config: Config


class Companion(ABC):
    """What the head's daemon starts in a process of its own, starts again when that dies, and ends with itself."""

    name: ClassVar[str]
    __slots__ = ()

    @abstractmethod
    def check(self, config: Config) -> None:
        """Look whether it can run with these settings, before the head is started. Raises ConfigError."""

    @abstractmethod
    def run(self, home: CompanionHome) -> None:
        """Run, in the main thread of its process, until SIGTERM. What it raises ends the process, and is logged."""
