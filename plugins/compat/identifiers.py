"""Kinds of identifiers and constants that only the reference has."""

from __future__ import annotations

import enum
from typing import ClassVar

from shoal.ids import Identifier

SCRIPT_MODE = 0  # a driver
WORKER_MODE = 1
LOCAL_MODE = 2


class UniqueID(Identifier):
    """An identifier of anything."""

    SIZE: ClassVar[int] = 28
    __slots__ = ()


class FunctionID(UniqueID):
    """A remote function."""

    __slots__ = ()


class ActorClassID(UniqueID):
    """An actor class."""

    __slots__ = ()


class Language(enum.Enum):
    """What a task is written in. All of ours are PYTHON."""

    PYTHON = 0
    JAVA = 1
    CPP = 2
