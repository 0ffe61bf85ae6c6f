"""EnvVarsStep: environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges

_REFERENCE = re.compile(r"\$\{(\w+)\}")


class EnvVarsStep(EnvironmentStep):
    """`{"env_vars": {"OMP_NUM_THREADS": "1", "PATH": "/opt/bin:${PATH}"}}`: names and values are text.

    `${NAME}` in a value stands for that variable on the machine where the worker runs, or for nothing.
    """

    name: ClassVar[str] = "env_vars"
    order: ClassVar[int] = 10
    __slots__ = ()

    def check(self, value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ConfigError(
                f"runtime_env['env_vars'] must be a dict of names and values, got {describe(value)}"
            )
        for name, text in value.items():
            if not isinstance(name, str) or not name or "=" in name or "\0" in name:
                raise ConfigError(
                    f"runtime_env['env_vars']: a variable's name must be text without '=', got {describe(name)}"
                )
            if not isinstance(text, str) or "\0" in text:
                raise ConfigError(
                    f"runtime_env['env_vars'][{name!r}] must be a str, got {describe(text)}; write {str(text)!r}"
                )
        return dict(sorted(value.items()))

    def build(self, value: Any, folder: str) -> WorkerChanges:
        variables = {
            name: _REFERENCE.sub(lambda found: os.environ.get(found[1], ""), text)
            for name, text in value.items()
        }
        return WorkerChanges(variables=variables)
