"""Runtime environments: checked where they are asked for, built where workers start."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError, RuntimeEnvSetup
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges, setup_deadline

if TYPE_CHECKING:
    from shoal.native.process.environment_cache import EnvironmentCache, Hold

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
    refuse_together(checked)
    return checked


CONFIG = "config"  # how the others are made
JOB = "job"  # beside the user's keys, in a cluster: whose program it is, see process/join.py


def users_part(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return an environment as whoever asked for it knows it."""
    return {name: value for name, value in environment.items() if name != JOB}


def build_environment(
    environment: dict[str, Any],
    folder: str,
    cache: EnvironmentCache,
    holds: list[Hold],
    most_seconds: float,
) -> WorkerChanges:
    """Build every part of a checked environment below `folder`, or in the cache; return all changes joined.

    `holds` receives the uses of what is in the cache, also if it raises. `most_seconds` is how long all of it may take
    unless the environment says so. Raises RuntimeEnvSetup.

    No step is imported that is not asked for: in a cluster every worker has at least its job's environment, and a
    hundred nodes of one machine would look for plugins at the same time.
    """
    asked = environment.keys() - {JOB}
    known = steps() if asked else {}
    _refuse_missing(asked, known)
    given = environment.get(CONFIG, {}).get("setup_timeout_seconds")
    seconds = most_seconds if given is None else math.inf if given == -1 else given
    token = setup_deadline.set(time.monotonic() + seconds)
    try:
        all_changes = [
            _build(known[key], environment[key], os.path.join(folder, key), cache, holds)
            for key in sorted(asked, key=lambda key: known[key].order)
        ]
    finally:
        setup_deadline.reset(token)
    job = environment.get(JOB)
    if job is not None:
        there = job["folder"] if os.path.isdir(job["folder"]) else ""
        all_changes.insert(0, WorkerChanges(working_folder=there))
        all_changes.append(WorkerChanges(path=job["path"]))
    return _joined(all_changes)


def _build(
    step: EnvironmentStep, value: Any, folder: str, cache: EnvironmentCache, holds: list[Hold]
) -> WorkerChanges:
    try:
        if step.cached:
            changes, hold = cache.obtain(step.name, value, lambda place: step.build(value, place))
            holds.append(hold)
            return changes
        os.makedirs(folder, exist_ok=True)
        return step.build(value, folder)
    except RuntimeEnvSetup as error:
        raise RuntimeEnvSetup(f"runtime_env[{step.name!r}]: {error}") from error


def _refuse_missing(asked: Collection[str], known: Mapping[str, EnvironmentStep]) -> None:
    missing = sorted(set(asked) - known.keys())
    if missing:
        raise RuntimeEnvSetup(
            f"this node has no plugin for runtime_env's {', '.join(map(repr, missing))}; it has: "
            f"{', '.join(sorted(known))}. Install the same packages on every node"
        )


def _joined(all_changes: Sequence[WorkerChanges]) -> WorkerChanges:
    variables: dict[str, str] = {}
    working_folder = ""
    for changes in all_changes:
        variables.update(changes.variables)
        working_folder = changes.working_folder or working_folder
    return WorkerChanges(
        variables=variables,
        path=[entry for changes in all_changes for entry in changes.path],
        working_folder=working_folder,
        programs=[entry for changes in all_changes for entry in changes.programs],
        command=[word for changes in all_changes for word in changes.command],
        hooks=[hook for changes in all_changes for hook in changes.hooks],
        preload=[module for changes in all_changes for module in changes.preload],
    )


def merged(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checked environment over the one around it: its own keys win, and variables are put together.

    What a key of its own excludes is left out.
    """
    if not inner:
        return dict(outer)
    known = steps() if inner.keys() != {"env_vars"} else {}
    excluded = {
        key
        for key in outer
        for mine in inner
        if mine in known and key in known and _exclude(known[mine], known[key])
    }
    together = {**{key: value for key, value in outer.items() if key not in excluded}, **inner}
    variables = {**outer.get("env_vars", {}), **inner.get("env_vars", {})}
    if variables:
        together["env_vars"] = variables
    return together


def _exclude(one: EnvironmentStep, other: EnvironmentStep) -> bool:
    return other.name in one.excludes or one.name in other.excludes


def refuse_together(keys: Collection[str]) -> None:
    """Raise ConfigError if two of these keys exclude each other."""
    known = steps()
    for one in sorted(keys):
        for other in sorted(keys):
            if one < other and one in known and other in known and _exclude(known[one], known[other]):
                raise ConfigError(f"runtime_env has {one!r} and {other!r}, and can have only one of them")
