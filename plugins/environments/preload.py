"""PreloadStep: modules that a node imports once, for all workers that want them."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_MOST = 64


class PreloadStep(EnvironmentStep):
    """`{"preload": ["torch"]}`: the node imports these before it forks such a worker, which then has them at no cost.

    The first worker on a node waits for the import. Modules are looked for where the node's own Python looks; what is
    not there, or raises, is left for the worker to import. Only name modules that start no threads and open nothing.
    """

    name: ClassVar[str] = "preload"
    order: ClassVar[int] = 80
    __slots__ = ()

    def check(self, value: Any) -> list[str]:
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(each, str) and _MODULE.fullmatch(each) for each in value
        ):
            raise ConfigError(
                f"runtime_env['preload'] must be a list of modules' names, not {describe(value)}"
            )
        if len(value) > _MOST:
            raise ConfigError(f"runtime_env['preload'] may name {_MOST} modules, not {len(value)}")
        return list(dict.fromkeys(value))

    def build(self, value: Any, folder: str) -> WorkerChanges:
        return WorkerChanges(preload=value)
