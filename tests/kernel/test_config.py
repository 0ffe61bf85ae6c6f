"""Settings: what is allowed, which source wins, and what the errors say."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import msgspec
import pytest

from shoal.config import Config, load_config, settings
from shoal.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder two below one that may hold files of settings."""
    (inner := tmp_path / "a" / "b").mkdir(parents=True)
    return inner


def test_defaults_are_valid_and_say_so() -> None:
    config = Config()
    assert config.scheduler == "hybrid"
    assert config.inline_object_max_bytes == 102400
    assert {config.where_from(setting.name) for setting in settings()} == {"default"}


def test_an_argument_wins_over_the_environment_over_a_file_over_the_default(folder: Path) -> None:
    (folder.parent / "shoal.toml").write_text('num_cpus = 1\nstore = "heap"\nscheduler = "spread"\n')
    config = load_config(
        {"num_cpus": 3}, {"SHOAL_NUM_CPUS": "2", "SHOAL_STORE": "arrow", "HOME": "/"}, folder
    )
    assert (config.num_cpus, config.store, config.scheduler, config.engine) == (
        3,
        "arrow",
        "spread",
        "native",
    )
    assert config.where_from("num_cpus") == "argument"
    assert config.where_from("store") == "environment variable SHOAL_STORE"
    assert config.where_from("scheduler") == f"file {folder.parent / 'shoal.toml'}"
    assert config.where_from("engine") == "default"


def test_an_argument_that_is_none_was_not_given(folder: Path) -> None:
    assert load_config({"num_cpus": None}, {"SHOAL_NUM_CPUS": "2"}, folder).num_cpus == 2


def test_pyproject_counts_only_with_our_table(folder: Path) -> None:
    (folder / "pyproject.toml").write_text('[project]\nname = "tool.shoal"\n')
    (folder.parent / "pyproject.toml").write_text("[tool.shoal]\nnum_cpus = 5\n")
    assert load_config({}, {}, folder).num_cpus == 5


def test_the_nearest_file_is_the_only_one(folder: Path) -> None:
    (folder.parent / "shoal.toml").write_text("num_cpus = 5\nnum_gpus = 5\n")
    (folder / "shoal.toml").write_text("num_cpus = 4\n")
    config = load_config({}, {}, folder)
    assert (config.num_cpus, config.num_gpus) == (4, None)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("SHOAL_NUM_CPUS", "0.5", "num_cpus", 0.5),
        ("SHOAL_NUM_CPUS", "none", "num_cpus", None),
        ("SHOAL_OBJECT_STORE_BYTES", "2 GiB", "object_store_bytes", 2**31),
        ("SHOAL_OBJECT_STORE_BYTES", "512MB", "object_store_bytes", 512_000_000),
        ("SHOAL_ACCELERATORS", "cpu, mine", "accelerators", ("cpu", "mine")),
        ("SHOAL_ACCELERATORS", "", "accelerators", ()),
        ("SHOAL_LOG_TO_DRIVER", "no", "log_to_driver", False),
        ("SHOAL_RESOURCES", '{"disk": 2}', "resources", {"disk": 2}),
        (
            "SHOAL_STORE_OPTIONS",
            '{"deep": {"list": [1, "x"]}}',
            "store_options",
            {"deep": {"list": [1, "x"]}},
        ),
    ],
)
def test_text_of_the_environment_becomes_a_value(
    folder: Path, variable: str, text: str, name: str, value: object
) -> None:
    assert getattr(load_config({}, {variable: text}, folder), name) == value


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"num_cpus": -1}, "num_cpus must be a number of at least 0 or None, not -1 (from argument)"),
        ({"num_cpus": True}, "num_cpus must be a number of at least 0 or None, not True (from argument)"),
        (
            {"num_cpus": float("nan")},
            "num_cpus must be a number of at least 0 or None, not nan (from argument)",
        ),
        (
            {"log_files_max": 1.5},
            "log_files_max must be a whole number of at least 1, not 1.5 (from argument)",
        ),
        ({"infeasible": "w"}, "infeasible must be 'warn' or 'error', not 'w' (from argument)"),
        ({"store": ""}, "store must be text that is not empty, not '' (from argument)"),
        ({"accelerators": "cpu"}, "accelerators must be a list of names, not 'cpu' (from argument)"),
        (
            {"labels": {"a": 1}},
            "labels must be a table of names and text, not {'a': 1} (from argument)",
        ),
        (
            {"store_options": {"a": object}},
            "store_options must be a table of names and plain values, not {'a': <class 'object'>} (from argument)",
        ),
        (
            {"log_file_max_bytes": "9 parsecs"},
            'log_file_max_bytes must be a number of bytes of at least 4096, such as 1000000, "512MB" or "2GiB", '
            "not '9 parsecs' (from argument)",
        ),
        (
            {"num_cpu": 1},
            "there is no setting 'num_cpu' (from argument); did you mean 'num_cpus'? `shoal config` lists all.",
        ),
    ],
)
def test_an_error_says_what_came_and_what_is_allowed(
    folder: Path, arguments: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(arguments, {}, folder)
    assert str(raised.value) == text


def test_errors_name_the_variable_and_the_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"not 'many' \(from environment variable SHOAL_NUM_CPUS\)$"):
        load_config({}, {"SHOAL_NUM_CPUS": "many"}, folder)
    (path := folder / "shoal.toml").write_text("num_cpus = []")
    with pytest.raises(ConfigError) as raised:
        load_config({}, {}, folder)
    assert str(raised.value) == f"num_cpus must be a number of at least 0 or None, not [] (from file {path})"
    path.write_text("nmu_cpus = 1")
    with pytest.raises(ConfigError) as raised:
        load_config({}, {}, folder)
    assert f"there is no setting 'nmu_cpus' (from file {path}); did you mean 'num_cpus'?" in str(raised.value)
    path.write_text("num_cpus = ")
    with pytest.raises(ConfigError, match=r".*shoal\.toml cannot be read: "):
        load_config({}, {}, folder)


def test_a_misspelt_variable_warns(folder: Path) -> None:
    with pytest.warns(UserWarning, match="SHOAL_NUM_CPU sets nothing; did you mean 'SHOAL_NUM_CPUS'"):
        load_config({}, {"SHOAL_NUM_CPU": "2"}, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_config({}, {"SHOAL__TOKEN": "2", "SHOALS": "3"}, folder)


def test_a_direct_config_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="num_gpus must be a number"):
        Config(num_gpus="two")  # type: ignore[arg-type]
    assert Config(num_cpus=2).where_from("num_cpus") == "argument"
    with pytest.raises(KeyError):
        Config().where_from("nothing")


def test_the_wire_carries_every_value_as_plain_data() -> None:
    config = Config(
        num_cpus=2, labels={"zone": "a"}, accelerators=("cpu",), store_options={"x": [1, {"y": None}]}
    )
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(config.to_wire()))
    assert Config.from_wire(sent) == config
    with pytest.raises(ConfigError, match="settings from another version of shoal"):
        Config.from_wire(sent | {"new": 1})


def test_configs_share_no_table() -> None:
    assert Config().resources is not Config().resources


def test_every_setting_is_documented() -> None:
    for setting in settings():
        assert setting.doc.endswith("."), setting
        assert setting.environment == "SHOAL_" + setting.name.upper()


def test_reading_settings_without_a_file_parses_no_toml(folder: Path) -> None:
    code = "import sys, shoal.config; shoal.config.load_config(); sys.exit('tomllib' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, check=False, timeout=60).returncode
        == 0
    )
