"""ConfigStep: how the other parts of an environment are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges

_KEYS = ("setup_timeout_seconds", "eager_install", "log_files")


class ConfigStep(EnvironmentStep):
    """`{"config": {"setup_timeout_seconds": 300, "eager_install": False}}`.

    `setup_timeout_seconds` bounds the making of all of it (−1: no bound). `eager_install` of a session's environment:
    whether it is made as the session begins (True), or when the first worker needs it.
    """

    name: ClassVar[str] = "config"
    order: ClassVar[int] = 0
    __slots__ = ()

    def check(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"runtime_env['config'] must be a dict, not {describe(value)}")
        unknown = sorted(str(key) for key in value if key not in _KEYS)
        if unknown:
            raise ConfigError(
                f"runtime_env['config'] has no key {', '.join(unknown)}; it has: {', '.join(_KEYS[:2])}"
            )
        if value.get("log_files"):
            raise ConfigError(
                "runtime_env['config']['log_files'] is not there: workers print to the session's logs"
            )
        checked: dict[str, Any] = {}
        seconds = value.get("setup_timeout_seconds")
        if seconds is not None:
            whole = isinstance(seconds, int) and not isinstance(seconds, bool)
            if not whole or (seconds <= 0 and seconds != -1):
                raise ConfigError(
                    "runtime_env['config']['setup_timeout_seconds'] must be a whole number of seconds > 0, or −1 for "
                    f"no bound, not {describe(seconds)}"
                )
            checked["setup_timeout_seconds"] = seconds
        eager = value.get("eager_install")
        if eager is not None:
            if not isinstance(eager, bool):
                raise ConfigError(
                    f"runtime_env['config']['eager_install'] must be True or False, not {describe(eager)}"
                )
            checked["eager_install"] = eager
        return checked

    def build(self, value: Any, folder: str) -> WorkerChanges:
        return WorkerChanges()
