"""CondaStep: an environment of conda, made here or there already."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.environments.installing import run, show_node
from shoal.errors import ConfigError, RuntimeEnvSetup, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges

_PROGRAMS = ("conda", "mamba", "micromamba")
_NAME = re.compile(r"[\w.+-]+")


class CondaStep(EnvironmentStep):
    """`{"conda": {"dependencies": ["python=3.11", "numpy"]}}`, the path of such a .yml file, the name of an environment
    that every node has, or the folder of one.

    Its Python must be of the node's version. The program is that in CONDA_EXE, or conda, mamba or micromamba on PATH.
    """

    name: ClassVar[str] = "conda"
    order: ClassVar[int] = 30
    cached: ClassVar[bool] = True
    excludes: ClassVar[frozenset[str]] = frozenset({"pip", "uv", "container", "image_uri", "py_executable"})
    __slots__ = ()

    def check(self, value: Any) -> dict[str, str]:
        if isinstance(value, Mapping):
            if _is_canonical(value):
                return dict(value)
            try:
                # Every JSON text is YAML.
                return {"file": json.dumps(value, sort_keys=True)}
            except (TypeError, ValueError) as error:
                raise ConfigError(f"runtime_env['conda'] must be plain data: {error}") from error
        if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
            raise ConfigError(
                "runtime_env['conda'] must be a dict, the path of a .yml file, or the name or folder of an "
                f"environment, not {describe(value)}"
            )
        text = os.path.expanduser(os.fspath(value))
        if text.endswith((".yml", ".yaml")):
            try:
                with open(text, encoding="utf-8") as file:
                    return {"file": file.read()}
            except OSError as error:
                raise ConfigError(
                    f"runtime_env['conda']: {text!r} cannot be read: {error.strerror}"
                ) from error
        if os.path.isabs(text):
            return {"prefix": text}
        if not _NAME.fullmatch(text):
            raise ConfigError(f"runtime_env['conda']: {text!r} is no name of an environment")
        return {"name": text}

    def build(self, value: Any, folder: str) -> WorkerChanges:
        if "prefix" in value:
            return _changes(value["prefix"])
        program = _find()
        if "name" in value:
            return _changes(_prefix_of(program, value["name"], folder))
        description = os.path.join(folder, "environment.yml")
        with open(description, "w", encoding="utf-8") as file:
            file.write(value["file"])
        prefix = os.path.join(folder, "env")
        # micromamba has no word `env` for it and takes the same options.
        words = ["create", "--yes"] if _is_micro(program) else ["env", "create"]
        run([program, *words, "--quiet", "--prefix", prefix, "--file", description], "conda", folder)
        show_node(prefix)
        return _changes(prefix)


def _is_canonical(value: Mapping[Any, Any]) -> bool:
    return (
        len(value) == 1
        and next(iter(value)) in ("file", "prefix", "name")
        and all(isinstance(text, str) for text in value.values())
    )


def _find() -> str:
    given = os.environ.get("CONDA_EXE", "")
    found = given if os.access(given, os.X_OK) else next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        raise RuntimeEnvSetup(
            f"this node has none of the programs {', '.join(_PROGRAMS)}: install one and have it on PATH, or name it "
            "in CONDA_EXE, before the node starts; runtime_env['uv'] needs none"
        )
    return found


def _is_micro(program: str) -> bool:
    return "micromamba" in os.path.basename(program)


def _prefix_of(program: str, name: str, folder: str) -> str:
    printed = run([program, "env", "list", "--json"], "conda env list", folder)
    try:
        prefixes = [str(prefix) for prefix in json.loads(printed)["envs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeEnvSetup(f"`{program} env list --json` printed what is no list: {printed}") from error
    for prefix in prefixes:
        if os.path.basename(prefix) == name:
            return prefix
    if name == "base" and prefixes:
        return prefixes[0]
    there = ", ".join(sorted(map(os.path.basename, prefixes))) or "none"
    raise RuntimeEnvSetup(f"conda knows no environment {name!r} on this node; it knows: {there}")


def _changes(prefix: str) -> WorkerChanges:
    python = os.path.join(prefix, "bin", "python")
    if not os.access(python, os.X_OK):
        raise RuntimeEnvSetup(
            f"the conda environment {prefix} has no Python: name it among the dependencies, of the node's version"
        )
    variables = {"CONDA_PREFIX": prefix, "CONDA_DEFAULT_ENV": os.path.basename(prefix)}
    return WorkerChanges(variables=variables, programs=[os.path.dirname(python)], command=[python])
