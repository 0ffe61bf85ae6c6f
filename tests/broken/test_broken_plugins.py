"""Plugins that fail to import, to match, to be alone or to be found; the text of each error is a promise to users."""

from __future__ import annotations

import pytest

from shoal.config import Config
from shoal.errors import ConfigError, PluginBroken, PluginNotFound
from shoal.registry import discover
from shoal.registry.drivers import load_all, load_driver
from shoal.registry.groups import ENVIRONMENTS, GROUPS, SCHEDULERS, STORES
from shoal.registry.report import report

GOOD = """
from shoal.interfaces.scheduler import Scheduler
class Mine(Scheduler):
    name = "mine"
    def __init__(self, options=None): pass
    def place(self, demand, view): pass
    def place_group(self, spec, view): pass
"""


def raised(kind: type[Exception], name: str = "mine", **options: object) -> Exception:
    with pytest.raises(kind) as caught:
        load_driver(SCHEDULERS, name, options)
    assert type(caught.value) is kind
    return caught.value


def test_a_good_stranger_is_loaded_like_one_of_ours(fake_dist) -> None:
    fake_dist("stranger", "[shoal.schedulers]\nmine = stranger:Mine\n", GOOD)
    assert load_driver(SCHEDULERS, "mine").__module__ == "stranger"


def test_a_module_that_needs_what_is_not_there(fake_dist) -> None:
    fake_dist("needy", "[shoal.schedulers]\nmine = needy:Mine\n", "import absent_library.part\n")
    error = raised(PluginBroken)
    assert str(error) == (
        "scheduler 'mine' (group 'shoal.schedulers', needy:Mine of needy 1.2) cannot be imported: "
        "ModuleNotFoundError: No module named 'absent_library'. "
        "Install 'absent_library', or the extra of needy that has it."
    )
    assert isinstance(error.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("raise ValueError('bad day')", "ValueError: bad day"),
        ("raise SystemExit('no')", "SystemExit: no"),
        ("assert False, 'never'", "AssertionError: never"),
        ("x = 1", "AttributeError: module 'rude' has no attribute 'Mine'"),
    ],
)
def test_a_module_that_raises(fake_dist, source: str, problem: str) -> None:
    fake_dist("rude", "[shoal.schedulers]\nmine = rude:Mine\n", source)
    error = raised(PluginBroken)
    assert str(error) == (
        f"scheduler 'mine' (group 'shoal.schedulers', rude:Mine of rude 1.2) cannot be imported: {problem}. "
        "Reinstall or uninstall rude, or choose another."
    )
    assert type(error.__cause__).__name__ == problem.partition(":")[0]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("Mine = 7", "but is 7"),
        ("class Mine(dict): pass", "but its bases are dict, object"),
        (
            GOOD.replace("    def place(self, demand, view): pass\n", ""),
            "but does not define place",
        ),
    ],
)
def test_not_what_the_group_asks_for(fake_dist, source: str, problem: str) -> None:
    fake_dist("odd", "[shoal.schedulers]\nmine = odd:Mine\n", source)
    assert str(raised(PluginBroken)) == (
        "scheduler 'mine' (group 'shoal.schedulers', odd:Mine of odd 1.2) must be a class that implements "
        f"shoal.interfaces.scheduler.Scheduler, {problem}"
    )


def test_a_class_that_calls_itself_otherwise(fake_dist) -> None:
    fake_dist("twofaced", "[shoal.schedulers]\nother = twofaced:Mine\n", GOOD)
    assert str(raised(PluginBroken, "other")) == (
        "scheduler 'other' (group 'shoal.schedulers', twofaced:Mine of twofaced 1.2) is registered as 'other', "
        "but its `name` is 'mine'"
    )


def test_doubles_are_refused_even_if_equal(fake_dist) -> None:
    fake_dist("first", "[shoal.schedulers]\nmine = first:Mine\n", GOOD)
    fake_dist("second", "[shoal.schedulers]\nmine = first:Mine\n", GOOD)
    assert str(raised(PluginBroken)) == (
        "two plugins are registered as scheduler 'mine' (group 'shoal.schedulers'): first:Mine of first 1.2, and "
        "first:Mine of second 1.2. Uninstall one of the two distributions."
    )


def test_doubles_of_one_name_leave_other_names_alone(fake_dist) -> None:
    fake_dist("first", "[shoal.schedulers]\nmine = first:Mine\n", GOOD)
    fake_dist("second", "[shoal.schedulers]\ntwice = second:A\n", GOOD)
    fake_dist("third", "[shoal.schedulers]\ntwice = third:A\n", GOOD)
    assert load_driver(SCHEDULERS, "mine").__name__ == "Mine"


def test_a_stranger_may_not_take_the_name_of_ours(fake_dist) -> None:
    fake_dist("thief", "[shoal.schedulers]\nhybrid = thief:Mine\n", GOOD)
    assert "of shoal " in (text := str(raised(PluginBroken, "hybrid")))
    assert "of thief 1.2" in text


def test_an_unknown_option(fake_dist) -> None:
    declared = (
        GOOD
        + "    import attrs\n    @attrs.frozen\n    class Options:\n        depth: int = 1\n        width: int = 2\n"
    )
    fake_dist("picky", "[shoal.schedulers]\nmine = picky:Mine\n", declared)
    assert load_driver(SCHEDULERS, "mine", {"depth": 3}).__name__ == "Mine"
    assert (
        str(raised(ConfigError, depht=3)) == "scheduler 'mine' has no option 'depht'; it has 'depth', 'width'"
    )


def test_no_such_name() -> None:
    text = str(raised(PluginNotFound, "hybird"))
    assert text.startswith(
        "no scheduler is named 'hybird' (group 'shoal.schedulers'); did you mean 'hybrid'? Installed: binpack, "
    )
    assert text.endswith("Set scheduler= to one of these, or install the package that has 'hybird'.")


def test_a_bare_checkout_says_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    discover.forget()
    try:
        text = str(raised(PluginNotFound, "hybrid"))
    finally:
        discover.forget()
    assert text == (
        "no plugin is installed at all, so shoal itself is not: it was imported from a bare checkout. "
        "Run `pip install -e .` there, or `pip install shoal`. Asked for: scheduler 'hybrid'."
    )


def test_found_by_looking_round_a_broken_one_is_recorded_and_the_rest_works(fake_dist) -> None:
    step = (
        "from shoal.interfaces.environment import EnvironmentStep, WorkerChanges\n"
        "class Good(EnvironmentStep):\n"
        "    name = 'good'\n"
        "    order = 1\n"
        "    def check(self, value): return value\n"
        "    def build(self, value, folder): return WorkerChanges()\n"
    )
    fake_dist("steps", "[shoal.environments]\ngood = steps:Good\nbad = steps:Bad\n", step)
    working, failures = load_all(ENVIRONMENTS)
    assert working["good"].__module__ == "steps"
    assert [failure.found.name for failure in failures if failure.found.distribution == "steps"] == ["bad"]


def test_the_report_shows_what_is_broken_and_what_was_wanted(fake_dist) -> None:
    fake_dist(
        "odd",
        "[shoal.stores]\nmine = odd:Mine\n[shoal.schedulers]\nmine = odd:Good\n",
        "Mine = 7" + GOOD.replace("Mine", "Good"),
    )
    rows = {(row.group, row.name): row for row in report(Config(store="mine"))}
    broken = rows[STORES.name, "mine"]
    assert (broken.state, broken.distribution, broken.version, broken.target, broken.chosen) == (
        "broken",
        "odd",
        "1.2",
        "odd:Mine",
        True,
    )
    assert "must be a class that implements shoal.interfaces.store.ObjectStore, but is 7" in broken.error
    assert broken.wanted == "shoal.interfaces.store.ObjectStore"
    good = rows[SCHEDULERS.name, "mine"]
    assert (good.state, good.error, good.chosen) == ("ok", "", False)
    assert {row.group for row in rows.values()} <= {group.name for group in GROUPS}
