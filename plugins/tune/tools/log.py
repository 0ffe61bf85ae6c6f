"""How much experiments say."""

from __future__ import annotations

import enum
import logging
import sys

from shoal.errors import ConfigError

__all__ = ["Verbosity", "disable_ipython", "has_verbosity", "in_notebook", "set_verbosity"]


class Verbosity(enum.Enum):
    """How much is said."""

    V0_MINIMAL = 0
    V1_EXPERIMENT = 1
    V2_TRIAL_NORM = 2
    V3_TRIAL_DETAILS = 3

    def __int__(self) -> int:
        return int(self.value)


_LEVELS = {0: logging.ERROR, 1: logging.INFO, 2: logging.INFO, 3: logging.DEBUG}
_now = Verbosity.V3_TRIAL_DETAILS
_notebook = True


def set_verbosity(level: int | Verbosity) -> None:
    """Set how much is said, and with it the level of the logger "shoal.tune". Raises ConfigError for an unknown level.

    Example: `set_verbosity(0)`
    """
    global _now
    try:
        _now = Verbosity(int(level))
    except ValueError:
        raise ConfigError(f"a verbosity is one of 0, 1, 2, 3, not {level!r}") from None
    logging.getLogger("shoal.tune").setLevel(_LEVELS[_now.value])


def has_verbosity(level: int | Verbosity) -> bool:
    """Return whether as much is said as that level has."""
    return _now.value >= int(level)


def disable_ipython() -> None:
    """Show tables as a terminal does, in notebooks too."""
    global _notebook
    _notebook = False


def in_notebook() -> bool:
    """Return whether this runs in a notebook whose cells can show tables."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return _notebook and shell is not None and hasattr(shell, "kernel")
