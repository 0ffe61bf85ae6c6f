"""Environment variables of the reference system, and what they mean here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping

import attrs


@attrs.frozen
class Change:
    """One variable that is set while the alias is in place."""

    name: str
    value: str
    before: str | None = None

    def make(self, environ: MutableMapping[str, str]) -> None:
        """Set it."""
        environ[self.name] = self.value

    def undo(self, environ: MutableMapping[str, str]) -> None:
        """Put back what was there, unless somebody else has changed it since."""
        if environ.get(self.name) != self.value:
            return
        if self.before is None:
            del environ[self.name]
        else:
            environ[self.name] = self.before


def _same(text: str) -> str:
    return text


def shoal_address(text: str) -> str:
    """Return an address of the reference's as it is written here: ray://host:port is shoal://host:port.

    The port must be the one that the head listens on: clients have no port of their own here.
    """
    return "shoal" + text.removeprefix("ray") if text.startswith("ray://") else text


def _from_milliseconds(text: str) -> str:
    return str(float(text) / 1000)


def _level(text: str) -> str:
    levels = {
        "trace": "debug",
        "warn": "warning",
        "fatal": "error",
        "critical": "error",
        "-1": "debug",
        "0": "info",
    }
    return levels.get(text.lower(), text.lower())


# Theirs to ours. The reference reads its internal settings from variables in lower case.
VARIABLES: dict[str, tuple[str, Callable[[str], str]]] = {
    "RAY_ADDRESS": ("SHOAL_ADDRESS", shoal_address),
    "RAY_BACKEND_LOG_LEVEL": ("SHOAL_LOG_LEVEL", _level),
    "RAY_LOG_TO_DRIVER": ("SHOAL_LOG_TO_DRIVER", _same),
    "RAY_NAMESPACE": ("SHOAL_NAMESPACE", _same),
    "RAY_ROTATION_BACKUP_COUNT": ("SHOAL_LOG_FILES_MAX", _same),
    "RAY_ROTATION_MAX_BYTES": ("SHOAL_LOG_FILE_MAX_BYTES", _same),
    "RAY_TMPDIR": ("SHOAL_TEMP_DIR", _same),
    "RAY_max_direct_call_object_size": ("SHOAL_INLINE_OBJECT_MAX_BYTES", _same),
    "RAY_memory_monitor_refresh_ms": ("SHOAL_MEMORY_MONITOR_INTERVAL_SECONDS", _from_milliseconds),
    "RAY_memory_usage_threshold": ("SHOAL_MEMORY_USAGE_THRESHOLD", _same),
    "RAY_worker_register_timeout_seconds": ("SHOAL_WORKER_START_TIMEOUT_SECONDS", _same),
}


def translate(environ: Mapping[str, str]) -> Iterator[Change]:
    """Return our variables for those of the reference that are set. One of ours that is set already wins.

    A value that cannot be translated goes on as it is: reading the settings names it then, with what is allowed.
    """
    for theirs, (ours, convert) in VARIABLES.items():
        text = environ.get(theirs, "")
        if not text or ours in environ:
            continue
        try:
            yield Change(ours, convert(text))
        except ValueError:
            yield Change(ours, text)
