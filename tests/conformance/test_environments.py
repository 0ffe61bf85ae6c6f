"""The contract of EnvironmentStep over each of our own steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shoal.environments.conda import CondaStep
from shoal.environments.config import ConfigStep
from shoal.environments.container import ContainerStep, ImageUriStep
from shoal.environments.env_vars import EnvVarsStep
from shoal.environments.interpreter import PyExecutableStep
from shoal.environments.packages import PipStep, UvStep
from shoal.environments.preload import PreloadStep
from shoal.environments.py_modules import PyModulesStep
from shoal.environments.setup_hook import SetupHookStep
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


SMALL = "toolz==1.0.0"  # of Python alone, without dependencies


class TestPip(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (
        3,
        [],
        [3],
        {"packages": ["x"], "pip_check": 1},
        {"package": ["x"]},
    )
    same_files = False

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return PipStep()

    @pytest.fixture
    def good_values(self) -> Sequence[Any]:
        return [[SMALL], {"packages": [SMALL], "pip_check": True}]


class TestUv(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (3, [], ["a\nb"], {"packages": ["x"], "uv_version": "new"})
    same_files = False

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return UvStep()

    @pytest.fixture
    def good_values(self, tmp_path: Path) -> Sequence[Any]:
        requirements = tmp_path / "requirements.txt"
        requirements.write_text(f"# comment\n{SMALL}\n")
        return [[SMALL], str(requirements), {"packages": [SMALL], "uv_pip_install_options": ["--no-deps"]}]


def test_lines_of_a_requirements_file_that_go_on(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("b==1 \\\n    --hash=sha256:12\n# words\n\na>=2\n")
    assert PipStep().check(str(requirements))["packages"] == ["a>=2", "b==1      --hash=sha256:12"]


class TestConda(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (3, "", "a name", "/no/such/file.yml", {"x": object()})

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return CondaStep()


class TestContainer(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (
        3,
        "python",
        {},
        {"image": "-x"},
        {"image": "x", "run_options": "-v"},
    )

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return ContainerStep()


class TestImageUri(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (3, "", "--privileged", "a b", {"image": "x"})

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return ImageUriStep()


class TestPyExecutable(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (3, "", "python '", ["python"])

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return PyExecutableStep()

    @pytest.fixture
    def good_values(self) -> Sequence[Any]:
        return ["python3", "/usr/bin/env python3 -X dev"]


class TestSetupHook(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (3, "", "word", "a..b", "pickle:?", ["os.getcwd"])

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return SetupHookStep()

    @pytest.fixture
    def good_values(self) -> Sequence[Any]:
        return ["os.getcwd", json.loads]


class TestConfig(EnvironmentStepContract):
    bad_values: ClassVar[Sequence[Any]] = (
        3,
        "",
        {"setup_timeout_seconds": 0},
        {"eager_install": 1},
        {"x": 1},
    )

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        return ConfigStep()

    @pytest.fixture
    def good_values(self) -> Sequence[Any]:
        return [{}, {"setup_timeout_seconds": -1, "eager_install": False}]


class TestPreload(EnvironmentStepContract):
    bad_values = (3, None, "torch", ["not a module"], ["a"] * 65)

    @pytest.fixture
    def step(self) -> PreloadStep:
        return PreloadStep()

    @pytest.fixture
    def good_values(self) -> Sequence[Any]:
        return [["torch", "torch.nn", "torch"], []]
