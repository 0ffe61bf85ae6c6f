"""PipStep and UvStep: packages from an index, in a virtual environment of the worker's own."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.environments.installing import find_uv, make_venv, run, show_node
from shoal.errors import ConfigError, RuntimeEnvSetup, describe
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges

_OTHERS = frozenset({"pip", "uv", "conda", "container", "image_uri", "py_executable"})
_VERSION = re.compile(r"\s*(?:(?:==|!=|<=|>=|~=|<|>|===)\s*[\w.*+!-]+\s*,?\s*)+")
_ELSEWHERE = re.compile(r"^(-r|-c|--requirement|--constraint)\b")


class _PackagesStep(EnvironmentStep):
    """What both have in common: a value is a list of requirements, a requirements file, or a dict with `packages`."""

    cached: ClassVar[bool] = True
    check_key: ClassVar[str]
    version_key: ClassVar[str]
    options_key: ClassVar[str]
    __slots__ = ()

    def check(self, value: Any) -> dict[str, Any]:
        given = dict(value) if isinstance(value, Mapping) else {"packages": value}
        known = ("packages", self.check_key, self.version_key, self.options_key)
        unknown = sorted(str(key) for key in given if key not in known)
        if unknown:
            raise ConfigError(
                f"runtime_env[{self.name!r}] has no key {', '.join(unknown)}; it has: {', '.join(known)}"
            )
        checks = given.get(self.check_key, False)
        if not isinstance(checks, bool):
            raise ConfigError(
                f"runtime_env[{self.name!r}][{self.check_key!r}] must be True or False, not {describe(checks)}"
            )
        return {
            "packages": self._packages(given.get("packages")),
            self.check_key: checks,
            self.version_key: self._version(given.get(self.version_key)),
            self.options_key: self._texts(given.get(self.options_key) or [], f"[{self.options_key!r}]"),
        }

    def _packages(self, given: Any) -> list[str]:
        if isinstance(given, (str, os.PathLike)):
            path = os.path.expanduser(os.fspath(given))
            try:
                with open(path, encoding="utf-8") as file:
                    # A line may go on in the next: hashes do.
                    lines = file.read().replace("\\\n", " ").splitlines()
            except OSError as error:
                raise ConfigError(
                    f"runtime_env[{self.name!r}]: the requirements file {path!r} cannot be read: {error.strerror}. For "
                    "a package write a list: ['name']"
                ) from error
            given = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
        texts = self._texts(given, "")
        for text in texts:
            if _ELSEWHERE.match(text):
                raise ConfigError(
                    f"runtime_env[{self.name!r}]: {text!r} names another file, which a node does not have; put its "
                    "lines into one list"
                )
        if not texts:
            raise ConfigError(f"runtime_env[{self.name!r}] names no packages; leave it out")
        return sorted(texts)

    def _texts(self, given: Any, where: str) -> list[str]:
        if (
            isinstance(given, (str, bytes))
            or not isinstance(given, (list, tuple))
            or not all(
                isinstance(text, str) and text and "\n" not in text and "\0" not in text for text in given
            )
        ):
            raise ConfigError(
                f"runtime_env[{self.name!r}]{where} must be a list of text, e.g. ['requests==2.32.3'], not "
                f"{describe(given)}"
            )
        return list(given)

    def _version(self, given: Any) -> str | None:
        if given is None or (isinstance(given, str) and _VERSION.fullmatch(given)):
            return given
        raise ConfigError(
            f"runtime_env[{self.name!r}][{self.version_key!r}] must say which versions will do, e.g. '==24.0', not "
            f"{describe(given)}"
        )

    def _requirements(self, value: Mapping[str, Any], folder: str) -> str:
        path = os.path.join(folder, "requirements.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in value["packages"]))
        return path

    def _changes(self, python: str) -> WorkerChanges:
        programs = os.path.dirname(python)
        show_node(os.path.dirname(programs))
        return WorkerChanges(
            variables={"VIRTUAL_ENV": os.path.dirname(programs)}, programs=[programs], command=[python]
        )


class PipStep(_PackagesStep):
    """`{"pip": ["requests==2.32.3"]}`, a requirements file, or `{"packages": [...], "pip_check": True, "pip_version":
    "==24.0", "pip_install_options": ["--no-deps"]}`.

    uv installs the packages where it is at hand, which is faster; pip itself does with `pip_version` or
    `pip_install_options`, and where there is no uv.
    """

    name: ClassVar[str] = "pip"
    order: ClassVar[int] = 30
    excludes: ClassVar[frozenset[str]] = _OTHERS - {"pip"}
    check_key: ClassVar[str] = "pip_check"
    version_key: ClassVar[str] = "pip_version"
    options_key: ClassVar[str] = "pip_install_options"
    __slots__ = ()

    def build(self, value: Any, folder: str) -> WorkerChanges:
        uv = find_uv()
        version, options = value["pip_version"], value["pip_install_options"]
        by_pip = uv is None or version is not None or bool(options)
        python = make_venv(folder, uv, with_pip=by_pip)
        requirements = self._requirements(value, folder)
        if by_pip:
            pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
            if version is not None:
                run([*pip, "install", "--quiet", f"pip{version}"], f"pip{version}", folder)
            run([*pip, "install", *options, "-r", requirements], "pip", folder)
            checking = [*pip, "check"]
        else:
            assert uv is not None
            run([uv, "pip", "install", "--python", python, "-r", requirements], "pip (by uv)", folder)
            checking = [uv, "pip", "check", "--python", python]
        if value["pip_check"]:
            run(checking, "pip check", folder)
        return self._changes(python)


class UvStep(_PackagesStep):
    """`{"uv": ["requests==2.32.3"]}`, a requirements file, or `{"packages": [...], "uv_check": True, "uv_version":
    "==0.9.0", "uv_pip_install_options": ["--no-deps"]}`.

    A uv of its own is installed with `uv_version`, and where there is none.
    """

    name: ClassVar[str] = "uv"
    order: ClassVar[int] = 30
    excludes: ClassVar[frozenset[str]] = _OTHERS - {"uv"}
    check_key: ClassVar[str] = "uv_check"
    version_key: ClassVar[str] = "uv_version"
    options_key: ClassVar[str] = "uv_pip_install_options"
    __slots__ = ()

    def build(self, value: Any, folder: str) -> WorkerChanges:
        uv = find_uv()
        if value["uv_version"] is not None or uv is None:
            uv = _own_uv(folder, uv, value["uv_version"] or "")
        python = make_venv(folder, uv, with_pip=False)
        requirements = self._requirements(value, folder)
        run(
            [uv, "pip", "install", "--python", python, *value["uv_pip_install_options"], "-r", requirements],
            "uv",
            folder,
        )
        if value["uv_check"]:
            run([uv, "pip", "check", "--python", python], "uv pip check", folder)
        return self._changes(python)


def _own_uv(folder: str, uv: str | None, version: str) -> str:
    """Install uv in an environment of its own."""
    place = os.path.join(folder, "tool")
    os.mkdir(place)
    python = make_venv(place, uv, with_pip=uv is None)
    installer = [python, "-m", "pip", "install"] if uv is None else [uv, "pip", "install", "--python", python]
    run([*installer, "--quiet", f"uv{version}"], f"uv{version}", place)
    own = os.path.join(os.path.dirname(python), "uv")
    if not os.access(own, os.X_OK):
        raise RuntimeEnvSetup(f"the package uv{version} has brought no program uv")
    return own
