"""ContainerStep and ImageUriStep: workers in a container, run by podman or docker.

The container shares the node's network, processes and user, and sees the folders that a worker needs: the session's,
the store's, the program's, and the node's packages, so that the image needs nothing of Shoal. Its Python must be of the
node's version.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.environments.installing import run
from shoal.errors import ConfigError, RuntimeEnvSetup, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges

_ENGINES = ("podman", "docker")
_ENGINE_VARIABLE = "SHOAL_CONTAINER_ENGINE"  # on a node: the program to use
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_KEYS = ("image", "run_options", "python")
# What ContainerStep says itself, and what would take the container away from it.
_OURS = ("--rm", "-d", "--detach", "--name", "--entrypoint", "-i", "-t", "-it", "--interactive", "--tty")
_OTHERS = frozenset({"pip", "uv", "conda", "py_executable", "container", "image_uri"})


class ContainerStep(EnvironmentStep):
    """`{"container": {"image": "docker.io/library/python:3.11", "run_options": ["--memory=2g"], "python": "python3"}}`.

    podman is taken where both are; a node's variable SHOAL_CONTAINER_ENGINE names another program.
    """

    name: ClassVar[str] = "container"
    order: ClassVar[int] = 40
    excludes: ClassVar[frozenset[str]] = _OTHERS - {"container"}
    __slots__ = ()

    def check(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ConfigError(f"runtime_env['container'] must be a dict with an image, not {describe(value)}")
        unknown = sorted(str(key) for key in value if key not in _KEYS)
        if unknown:
            raise ConfigError(
                f"runtime_env['container'] has no key {', '.join(unknown)}; it has: {', '.join(_KEYS)}"
            )
        python = value.get("python", "python3")
        if not isinstance(python, str) or not python or python.startswith("-"):
            raise ConfigError(f"runtime_env['container']['python'] must be a program, not {describe(python)}")
        options = value.get("run_options", [])
        if not isinstance(options, (list, tuple)) or not all(isinstance(o, str) and o for o in options):
            raise ConfigError(
                f"runtime_env['container']['run_options'] must be a list of text, not {describe(options)}"
            )
        for option in options:
            if option.partition("=")[0] in _OURS:
                raise ConfigError(f"runtime_env['container']['run_options'] cannot have {option!r}")
        image = _image(value.get("image"), "runtime_env['container']['image']")
        return {"image": image, "run_options": list(options), "python": python}

    def build(self, value: Any, folder: str) -> WorkerChanges:
        engine = _engine()
        _bring(engine, value["image"], folder)
        return WorkerChanges(command=container_command(engine, value))


class ImageUriStep(EnvironmentStep):
    """`{"image_uri": "docker.io/library/python:3.11"}`: as `container`, with nothing but the image."""

    name: ClassVar[str] = "image_uri"
    order: ClassVar[int] = 40
    excludes: ClassVar[frozenset[str]] = _OTHERS - {"image_uri"}
    __slots__ = ()

    def check(self, value: Any) -> str:
        return _image(value, "runtime_env['image_uri']")

    def build(self, value: Any, folder: str) -> WorkerChanges:
        engine = _engine()
        _bring(engine, value, folder)
        plain = {"image": value, "run_options": [], "python": "python3"}
        return WorkerChanges(command=container_command(engine, plain))


def container_command(engine: str, value: Mapping[str, Any]) -> list[str]:
    """Return what runs a worker's Python in a container, with placeholders for its folders and variables.

    Example: `container_command("podman", {"image": "python:3.11", "run_options": [], "python": "python3"})`
    """
    # Files of the session belong to the node's user, so the container's process must be that user.
    user = (
        ["--userns=keep-id"]
        if os.path.basename(engine) == "podman" and os.getuid()
        else [f"--user={os.getuid()}:{os.getgid()}"]
    )
    return [
        engine,
        "run",
        "--rm",
        "--network=host",
        "--pid=host",
        "--ipc=host",
        *user,
        "--volume={path}:{path}",
        "--env={variable}",  # without a value: the one that the command itself has
        *value["run_options"],
        "--entrypoint=",
        value["image"],
        value["python"],
    ]


def _image(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _IMAGE.fullmatch(value):
        raise ConfigError(
            f"{where} must be the name of an image, e.g. 'docker.io/library/python:3.11', not {describe(value)}"
        )
    return value


def _engine() -> str:
    given = os.environ.get(_ENGINE_VARIABLE, "")
    found = shutil.which(given) if given else next(filter(None, map(shutil.which, _ENGINES)), None)
    if found is None:
        looked = given or " and ".join(_ENGINES)
        raise RuntimeEnvSetup(
            f"this node has no container engine (looked for {looked}): install podman or docker, or name the program "
            f"in {_ENGINE_VARIABLE} before the node starts"
        )
    return found


def _bring(engine: str, image: str, folder: str) -> None:
    """See to it that the image is on the node, so that workers start at once and what fails is told here."""
    try:
        run([engine, "image", "inspect", "--format", "{{.Id}}", image], "looking for the image", folder)
    except RuntimeEnvSetup:
        run([engine, "pull", image], f"getting the image {image}", folder)
