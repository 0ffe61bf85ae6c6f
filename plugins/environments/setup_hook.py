"""SetupHookStep: a function that each worker calls before it works."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_PICKLED = re.compile(r"pickle:[A-Za-z0-9+/]+=*")
_LARGEST = 256 << 10  # bytes: it travels with each demand for a worker


class SetupHookStep(EnvironmentStep):
    """`{"worker_process_setup_hook": "module.function"}`, or a function without arguments.

    It is called in each worker once, in the worker's environment; what it raises is the error of the work that waits.
    """

    name: ClassVar[str] = "worker_process_setup_hook"
    order: ClassVar[int] = 90
    __slots__ = ()

    def check(self, value: Any) -> str:
        if isinstance(value, str) and (_DOTTED.fullmatch(value) or _PICKLED.fullmatch(value)):
            return value
        if isinstance(value, str) or not callable(value):
            raise ConfigError(
                "runtime_env['worker_process_setup_hook'] must be a function, or its path as 'module.function', not "
                f"{describe(value)}"
            )
        return f"pickle:{base64.b64encode(_pickled(value)).decode()}"

    def build(self, value: Any, folder: str) -> WorkerChanges:
        return WorkerChanges(hooks=[value])


def _pickled(function: Callable[[], Any]) -> bytes:
    import cloudpickle

    try:
        pickled: bytes = cloudpickle.dumps(function)
    except Exception as error:  # a stranger's __reduce__ may raise anything
        raise ConfigError(
            f"runtime_env['worker_process_setup_hook']: {describe(function)} cannot be pickled: "
            f"{type(error).__name__}: {error}"
        ) from error
    if len(pickled) > _LARGEST:
        raise ConfigError(
            f"runtime_env['worker_process_setup_hook']: the function takes {len(pickled):,} bytes with what it "
            f"captures, at most {_LARGEST:,} may; read large things from files or objects"
        )
    return pickled
