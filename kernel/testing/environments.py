"""The contract of EnvironmentStep, for whoever writes one.

class TestMine(EnvironmentStepContract):
    @pytest.fixture
    def step(self):
        return MyStep()

    @pytest.fixture
    def good_values(self):
        return [...]
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from shoal.errors import ConfigError
from shoal.interfaces.environment import EnvironmentStep, WorkerChanges


class EnvironmentStepContract:
    """What every step must do, whatever it makes."""

    bad_values: Sequence[Any] = (3, 1.5, None, object())
    same_files: bool = True  # building twice makes equal files; installers write times and such

    @pytest.fixture
    def step(self) -> EnvironmentStep:
        """Return the step under test."""
        raise NotImplementedError("return the step")

    @pytest.fixture
    def good_values(self) -> Sequence[Any]:
        """Return some values that the step accepts; none skips the tests that need one."""
        return ()

    def _good(self, values: Sequence[Any]) -> Sequence[Any]:
        if not values:
            pytest.skip("no value is given that the step accepts")
        return values

    def test_it_says_what_and_when_it_is(self, step: EnvironmentStep) -> None:
        assert step.name.isidentifier()
        assert isinstance(step.order, int)

    def test_checked_values_are_plain_data(self, step: EnvironmentStep, good_values: Sequence[Any]) -> None:
        for value in self._good(good_values):
            canonical = step.check(value)
            assert json.loads(json.dumps(canonical)) == canonical

    def test_checking_twice_changes_nothing(self, step: EnvironmentStep, good_values: Sequence[Any]) -> None:
        for value in self._good(good_values):
            canonical = step.check(value)
            assert step.check(canonical) == canonical
            assert step.check(value) == canonical

    def test_bad_values_are_refused_by_name(self, step: EnvironmentStep) -> None:
        for value in self.bad_values:
            with pytest.raises(ConfigError, match=step.name):
                step.check(value)

    def test_what_is_built_lies_in_its_folder(
        self, step: EnvironmentStep, good_values: Sequence[Any], tmp_path: Path
    ) -> None:
        for number, value in enumerate(self._good(good_values)):
            folder = tmp_path / f"built-{number}"
            folder.mkdir()
            beside = sorted(tmp_path.iterdir())
            changes = step.build(step.check(value), str(folder))
            assert isinstance(changes, WorkerChanges)
            assert sorted(tmp_path.iterdir()) == beside
            for path in (*changes.path, *filter(None, [changes.working_folder])):
                assert Path(path).is_relative_to(folder)
                assert Path(path).is_dir()
            assert all(isinstance(text, str) for pair in changes.variables.items() for text in pair)

    def test_building_twice_gives_the_same(
        self, step: EnvironmentStep, good_values: Sequence[Any], tmp_path: Path
    ) -> None:
        for number, value in enumerate(self._good(good_values)):
            canonical = step.check(value)
            found = []
            if not self.same_files:
                pytest.skip("what the step builds differs in its bytes")
            for folder in (tmp_path / f"one-{number}", tmp_path / f"two-{number}"):
                folder.mkdir()
                files = attrs.asdict(step.build(canonical, str(folder)))
                listed = [
                    (str(p.relative_to(folder)), p.is_file() and p.read_bytes()) for p in folder.rglob("*")
                ]
                found.append(
                    (json.dumps(files).replace(str(folder), ""), sorted(listed, key=lambda pair: pair[0]))
                )
            assert found[0] == found[1]
