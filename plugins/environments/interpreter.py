"""PyExecutableStep: the command that runs the worker's Python."""

from __future__ import annotations

import shlex
import shutil
from typing import Any, ClassVar

from shoal.errors import ConfigError, RuntimeEnvSetup, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges


class PyExecutableStep(EnvironmentStep):
    """`{"py_executable": "/opt/other/bin/python"}`, or a command that takes a program's path: `"uv run --isolated"`.

    It must be of the node's version of Python. The worker finds its own packages first and the node's after them.
    """

    name: ClassVar[str] = "py_executable"
    order: ClassVar[int] = 40
    excludes: ClassVar[frozenset[str]] = frozenset({"pip", "uv", "conda", "container", "image_uri"})
    __slots__ = ()

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or "\0" in value or "\n" in value:
            raise ConfigError(f"runtime_env['py_executable'] must be a command, not {describe(value)}")
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise ConfigError(
                f"runtime_env['py_executable']: {describe(value)} is no command: {error}"
            ) from error
        if not words:
            raise ConfigError("runtime_env['py_executable'] is empty; leave it out")
        return shlex.join(words)

    def build(self, value: Any, folder: str) -> WorkerChanges:
        words = shlex.split(value)
        if shutil.which(words[0]) is None:
            raise RuntimeEnvSetup(f"there is no program {words[0]!r} on this node")
        return WorkerChanges(command=words)
