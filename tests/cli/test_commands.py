"""The verbs of the command line, run as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shoal.cli.main import build
from shoal.config import settings


@pytest.fixture
def shoal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call the command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Result:
        return CliRunner().invoke(build(), list(words), catch_exceptions=False)

    return call


def test_version(shoal) -> None:
    assert shoal("--version").output == f"shoal, version {version('shoal')}\n"


def test_plugins_lists_what_is_chosen(shoal) -> None:
    rows = {(row["group"], row["name"]): row for row in json.loads(shoal("plugins", "--json").stdout)}
    heap, spill = rows["shoal.stores", "heap"], rows["shoal.stores", "spill"]
    assert (heap["state"], heap["chosen"], heap["distribution"]) == ("ok", False, "shoal")
    assert spill["chosen"]
    assert spill["target"] == "shoal.stores.spill:SpillStore"


def test_plugins_follows_the_settings(shoal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_STORE", "heap")
    line = next(line for line in shoal("plugins").stdout.splitlines() if " heap " in line)
    assert line.split()[:4] == ["shoal.stores", "heap", "yes", "ok"]


def test_a_chosen_plugin_that_is_broken_is_explained_and_fails_the_command(
    shoal, fake_dist, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_dist("odd", "[shoal.schedulers]\nodd = odd:Odd\n", "Odd = 7")
    monkeypatch.setenv("SHOAL_SCHEDULER", "odd")
    done = shoal("plugins")
    assert done.exit_code == 1
    assert "scheduler 'odd' (group 'shoal.schedulers', odd:Odd of odd 1.2) must be a class" in done.stdout
    assert "wanted: shoal.interfaces.scheduler.Scheduler" in done.stdout


def test_config_says_where_each_value_comes_from(
    shoal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shoal.toml").write_text('store = "heap"\n')
    monkeypatch.setenv("SHOAL_NUM_CPUS", "3")
    lines = {line.split()[0]: line for line in shoal("config").stdout.splitlines()}
    assert lines["store"].split(maxsplit=2)[1:] == ["'heap'", f"file {tmp_path / 'shoal.toml'}"]
    assert lines["num_cpus"].split(maxsplit=2)[1:] == ["3", "environment variable SHOAL_NUM_CPUS"]
    assert lines["engine"].split(maxsplit=2)[1:] == ["'native'", "default"]
    assert set(lines) == {"setting", *(setting.name for setting in settings())}


def test_config_as_json_tells_what_is_allowed(shoal) -> None:
    rows = {row["name"]: row for row in json.loads(shoal("config", "--json").stdout)}
    assert rows["infeasible"]["allowed"] == "'warn' or 'error'"
    assert rows["infeasible"]["environment"] == "SHOAL_INFEASIBLE"
    assert rows["infeasible"]["from"] == "default"


def test_a_wrong_setting_is_a_message_not_a_traceback(shoal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_NUM_CPUS", "many")
    done = shoal("config")
    assert done.exit_code == 1
    assert done.output == (
        "Error: num_cpus must be a number of at least 0 or None, not 'many' "
        "(from environment variable SHOAL_NUM_CPUS)\n"
    )


def test_a_plugin_adds_a_verb(shoal, fake_dist) -> None:
    source = (
        "import click\n"
        "from shoal.interfaces.hooks import hookimpl\n"
        "@click.command()\n"
        "def greet():\n"
        "    click.echo('hello')\n"
        "@hookimpl\n"
        "def shoal_cli_commands(group):\n"
        "    group.add_command(greet)\n"
    )
    fake_dist("greeter", "[shoal.hooks]\ngreeter = greeter\n", source)
    assert shoal("greet").output == "hello\n"


def test_a_broken_observer_does_not_take_the_command_line_with_it(shoal, fake_dist) -> None:
    source = (
        "from shoal.interfaces.hooks import hookimpl\n@hookimpl\ndef shoal_cli_comands(group):\n    pass\n"
    )
    fake_dist("typist", "[shoal.hooks]\ntypist = typist\n", source)
    done = shoal("config")
    assert done.exit_code == 0
    assert "num_cpus" in done.stdout
