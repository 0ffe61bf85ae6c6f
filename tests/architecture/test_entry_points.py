"""Every plugin that pyproject registers loads, and fits the interface of its group."""

from __future__ import annotations

import importlib
from importlib.metadata import distribution
from types import ModuleType

import click
import pytest
from tree import PYPROJECT

from shoal.cli.main import build
from shoal.registry.discover import find
from shoal.registry.drivers import load_driver
from shoal.registry.groups import GROUPS, group_named

TABLES: dict[str, dict[str, str]] = PYPROJECT["project"]["entry-points"]
OBJECTS = {"shoal.commands", "shoal.hooks"}  # whose plugins are any objects, not classes of an interface
OURS = [
    (group, name, target)
    for group, table in TABLES.items()
    if group.startswith("shoal.")
    for name, target in table.items()
]


@pytest.mark.parametrize(("group", "name", "target"), [one for one in OURS if one[0] not in OBJECTS])
def test_a_registered_plugin_fits_its_group(group: str, name: str, target: str) -> None:
    loaded = load_driver(group_named(group), name)
    if isinstance(loaded, ModuleType):  # a library
        assert loaded.__name__ == target
        return
    assert f"{loaded.__module__}:{loaded.__qualname__}" == target


@pytest.mark.parametrize(
    ("name", "target"), [(name, target) for group, name, target in OURS if group == "shoal.commands"]
)
def test_a_registered_command_is_a_verb_of_the_command_line(name: str, target: str) -> None:
    group = build()
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert command.name == name
    module, _, variable = target.partition(":")
    assert command is getattr(importlib.import_module(module), variable)


def test_what_is_installed_is_what_pyproject_says() -> None:
    # An editable install keeps the entry points of the day it was made: run `make venv` after changing them.
    installed = {(one.group, one.name, one.target) for group in GROUPS for one in find(group)}
    assert set(OURS) <= installed


def test_commands_and_pytest_plugins_load() -> None:
    entries = [
        one for one in distribution("shoal").entry_points if one.group in ("console_scripts", "pytest11")
    ]
    assert len(entries) >= 2
    for one in entries:
        assert one.load() is not None


def test_targets_are_written_in_full() -> None:
    assert [target for _, _, target in OURS if target.partition(":")[0].partition(".")[0] != "shoal"] == []
