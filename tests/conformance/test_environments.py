"""The contract of EnvironmentStep over each of our own steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shoal.environments.env_vars import EnvVarsStep
from shoal.environments.py_modules import PyModulesStep
from shoal.environments.working_dir import WorkingDirStep
from shoal.interfaces.environment import EnvironmentStep
from shoal.testing.environments import EnvironmentStepContract


class TestEnvVars(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (
        3,
        "A=1",
        [("A", "1")],
        {"A": 1},
        {1: "A"},
        {"": "x"},
        {"A=B": "x"},
        {"A": "\0"},
    )

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return EnvVarsStep()

    @pytest.fixture
    def good_values(self) -> Sequence[Any]:
        return [{}, {"B": "2", "A": "1"}, {"EMPTY": "", "PATH": "/x:${PATH}"}]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "inner").mkdir(parents=True)
    (folder / "main.py").write_text("x = 1\n")
    (folder / "inner" / "__init__.py").write_text("")
    return folder


class TestWorkingDir(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (
        3,
        "",
        "/no/such/folder",
        "/dev/null",
        {"path": "/tmp", "exclude": []},
        {"path": "/tmp", "excludes": "*.csv"},
        {"uri": 1, "hash": "x"},
    )

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return WorkingDirStep()

    @pytest.fixture
    def good_values(self, project: Path) -> Sequence[Any]:
        return [str(project), project, {"path": str(project), "excludes": ["inner"]}]


class TestPyModules(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (3, "one", [3], ["/no/such/module"], ["/dev/null"], {"a": 1})

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return PyModulesStep()

    @pytest.fixture
    def good_values(self, project: Path) -> Sequence[Any]:
        return [[], [str(project)], [project / "main.py", json]]
