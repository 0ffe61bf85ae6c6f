"""Groups, picking and the hooks' list. What goes wrong with plugins is in tests/broken."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from shoal.config import Config, settings
from shoal.errors import ConfigError, PluginNotFound
from shoal.interfaces.hooks import Hooks, hook_names
from shoal.registry.discover import find
from shoal.registry.drivers import load_driver, load_drivers
from shoal.registry.groups import (
    ACCELERATORS,
    ENVIRONMENTS,
    GROUPS,
    SCHEDULERS,
    STORES,
    Group,
    Picks,
    group_named,
)
from shoal.registry.report import chosen


def test_every_group_with_a_choice_has_a_setting_that_makes_it() -> None:
    names = {setting.name for setting in settings()}
    for group in GROUPS:
        assert (group.setting in names) == (group.picks is not Picks.ALL)


def test_the_defaults_name_plugins_that_we_ship() -> None:
    config = Config()
    for group in GROUPS:
        if group.picks is Picks.ONE:
            assert getattr(config, group.setting) in {one.name for one in find(group)}
    assert set(config.accelerators) <= {one.name for one in find(ACCELERATORS)}


def test_a_group_is_found_by_its_name() -> None:
    assert group_named("shoal.stores") is STORES
    with pytest.raises(
        ConfigError, match=r"no plugin group is named 'shoal.shops'; there are shoal.engines, "
    ):
        group_named("shoal.shops")


def test_several_are_loaded_in_the_order_asked_for() -> None:
    assert list(load_drivers(STORES, ["heap"])) == ["heap"]
    with pytest.raises(PluginNotFound, match="no store is named 'heep'"):
        load_drivers(STORES, ["heap", "heep"])


def test_registrations_tell_their_distribution() -> None:
    one = next(one for one in find(SCHEDULERS) if one.name == "hybrid")
    assert (one.distribution, one.target) == ("shoal", "shoal.schedulers.hybrid:HybridScheduler")
    assert str(one) == f"shoal.schedulers.hybrid:HybridScheduler of shoal {one.version}"


@pytest.mark.parametrize(
    ("group", "name", "used"),
    [
        (STORES, "spill", True),
        (STORES, "heap", False),
        (ACCELERATORS, "cpu", True),
        (ACCELERATORS, "tpu", False),
        (ENVIRONMENTS, "anything", True),
    ],
)
def test_the_configuration_says_what_is_used(group: Group[object], name: str, used: bool) -> None:
    assert chosen(group, name, Config()) is used


def test_every_hook_says_when_and_where_it_is_called() -> None:
    assert hook_names()
    for name in hook_names():
        doc = inspect.getdoc(getattr(Hooks, name))
        assert doc, name
        assert "process" in doc or name == "shoal_cli_commands", name


def test_finding_a_driver_loads_stevedore_only_then() -> None:
    code = (
        "import sys\n"
        "from shoal.registry import drivers, groups\n"
        "assert 'stevedore' not in sys.modules\n"
        "drivers.load_driver(groups.STORES, 'heap')\n"
        "assert 'stevedore' in sys.modules\n"
        "assert 'pluggy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-I", "-c", code], check=True, timeout=60)


def test_loading_returns_the_class_itself() -> None:
    assert load_driver(STORES, "heap") is load_driver(STORES, "heap")
