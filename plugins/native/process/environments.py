"""Runtime environments: checked where they are asked for, built where workers start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges

_steps: dict[str, EnvironmentStep] = {}


def steps() -> dict[str, EnvironmentStep]:
    """Return every installed step by the key it serves, loaded once per process."""
    if not _steps:
        from shoal.registry.drivers import load_all
        from shoal.registry.groups import ENVIRONMENTS

        working, _ = load_all(ENVIRONMENTS)
        for name, cls in working.items():
            _steps[name] = cls()
    return _steps


def check_environment(runtime_env: Any) -> dict[str, Any]:
    """Return a runtime_env with every value in canonical form. Raises ConfigError, naming key, value and cure."""
    if not runtime_env:
        return {}
    known = steps()
    checked = {}
    given = dict(runtime_env)
    if "excludes" in given:
        if not isinstance(given.get("working_dir"), str):
            raise ConfigError(
                "runtime_env['excludes'] says what of a working_dir stays behind; name that folder too"
            )
        given["working_dir"] = {"path": given["working_dir"], "excludes": given.pop("excludes")}
    for key, value in given.items():
        step = known.get(key)
        if step is None:
            import difflib

            near = difflib.get_close_matches(str(key), known, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigError(f"runtime_env has no key {key!r}{hint}. It has: {', '.join(sorted(known))}")
        checked[key] = step.check(value)
    return checked


JOB = "job"  # beside the user's keys, in a cluster: whose program it is, see process/join.py


def users_part(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment as whoever asked for it knows it."""
    return {name: value for name, value in environment.items() if name != JOB}


def build_environment(environment: dict[str, Any], folder: str) -> WorkerChanges:
    """Build every part of a checked environment below `folder`; return all changes joined. Raises RuntimeEnvSetup.

    No step is imported that is not asked for: in a cluster every worker has at least its job's environment, and a
    hundred nodes of one machine would look for plugins at the same time.
    """
    import os

    variables: dict[str, str] = {}
    path: list[str] = []
    working_folder = ""
    command: list[str] = []
    asked = environment.keys() - {JOB}
    known = steps() if asked else {}
    job = environment.get(JOB)
    if job is not None and os.path.isdir(job["folder"]):
        working_folder = job["folder"]
    for key in sorted(asked, key=lambda key: known[key].order):
        part = os.path.join(folder, key)
        os.makedirs(part, exist_ok=True)
        changes = known[key].build(environment[key], part)
        variables.update(changes.variables)
        path.extend(changes.path)
        working_folder = changes.working_folder or working_folder
        command.extend(changes.command)
    if job is not None:
        path.extend(job["path"])
    return WorkerChanges(variables=variables, path=path, working_folder=working_folder, command=command)
