"""The helpers of `shoal.tune.tools`."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal import tune
from shoal.errors import ConfigError
from shoal.tune import tools
from shoal.tune.tools import running
from shoal.tune.tools.file_transfer import sync_dir_between_nodes
from shoal.tune.tools.load import UtilMonitor
from shoal.tune.tools.log import Verbosity, has_verbosity, set_verbosity
from shoal.tune.tools.serialization import TuneFunctionDecoder, TuneFunctionEncoder

_lock = threading.Lock()


def test_nested_mappings_are_joined_made_flat_and_looked_up() -> None:
    one = {"a": {"b": 1, "type": "x"}, "c": 3}
    assert tools.merge_dicts(one, {"a": {"d": 2}}) == {"a": {"b": 1, "type": "x", "d": 2}, "c": 3}
    assert one == {"a": {"b": 1, "type": "x"}, "c": 3}
    assert tools.flatten_dict({"a": {"b": 1}, "l": [1, 2]}, flatten_list=True) == {
        "a/b": 1,
        "l/0": 1,
        "l/1": 2,
    }
    with pytest.raises(ValueError, match="delimiter"):
        tools.flatten_dict({"a/b": 1}, prevent_delimiter=True)
    assert tools.unflattened_lookup("a/b", one) == 1
    assert tools.unflattened_lookup("a/z", one, default=None) is None
    with pytest.raises(KeyError, match="there is no 'z'"):
        tools.unflattened_lookup("a/z", one)
    with pytest.raises(KeyError, match="'new' is not there"):
        tools.deep_update({"a": 1}, {"new": 2})
    assert tools.deep_update({"a": {"b": 1}}, {"a": {"n": 2}}, allow_new_subkey_list=["a"]) == {
        "a": {"b": 1, "n": 2}
    }
    changed = tools.deep_update(one, {"a": {"type": "y"}}, override_all_if_type_changes=["a"])
    assert changed is one
    assert one["a"] == {"type": "y"}


def test_what_cannot_be_sent_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def fine(config: dict[str, Any]) -> None:
        assert config

    held = threading.Lock()

    def bad(config: dict[str, Any]) -> None:
        with held, _lock:
            assert config

    assert tools.diagnose_serialization(fine) is True
    assert tools.diagnose_serialization(bad) >= {"held"}  # type: ignore[operator]
    assert "the outer variable held" in capsys.readouterr().out


class _Counts(tune.Trainable):
    forgets = False

    def setup(self, config: dict[str, Any]) -> None:
        self.at = 0

    def step(self) -> dict[str, Any]:
        self.at += 1
        return {"at": self.at}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"at": self.at}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.at = checkpoint["at"]


class _CannotSave(_Counts):
    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        raise ValueError("no room")


@pytest.mark.usefixtures("session")
def test_a_class_is_checked_for_going_on_from_its_checkpoint() -> None:
    assert tools.validate_save_restore(_Counts)
    with pytest.raises(ValueError, match="no room"):
        tools.validate_save_restore(_CannotSave)


@pytest.mark.usefixtures("session")
def test_a_step_may_ask_for_a_checkpoint(run_config: Any) -> None:
    class Asks(_Counts):
        def step(self) -> dict[str, Any]:
            found = super().step()
            return {**found, "should_checkpoint": self.at == 2, "done": self.at == 3}

    (result,) = list(tune.Tuner(Asks, run_config=run_config()).fit())
    (checkpoint,) = [metrics["training_iteration"] for _, metrics in result.best_checkpoints]
    assert checkpoint == 2


@pytest.mark.usefixtures("session")
def test_a_folder_goes_to_another_node(tmp_path: Path) -> None:
    here = shoal.nodes()[0]["NodeManagerAddress"]
    source, target = tmp_path / "from", tmp_path / "to"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a.bin").write_bytes(b"a" * 3000)
    (source / "b.txt").write_text("b")
    (source / "c.log").write_text("no")
    assert (
        sync_dir_between_nodes(here, str(source), here, str(target), exclude=["*.log"], chunk_size_bytes=1000)
        is None
    )
    assert sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()) == [
        "b.txt",
        "deep/a.bin",
    ]
    assert (target / "deep" / "a.bin").read_bytes() == b"a" * 3000
    with pytest.raises(ValueError, match="larger than max_size_bytes"):
        sync_dir_between_nodes(here, str(source), here, str(target), force_all=True, max_size_bytes=10)
    with pytest.raises(ConfigError, match="no node has the address"):
        sync_dir_between_nodes("203.0.113.1", str(source), here, str(target))
    with pytest.raises(FileNotFoundError, match="no folder"):
        sync_dir_between_nodes(here, str(tmp_path / "none"), here, str(target))


def test_functions_go_into_json_and_come_back_if_that_is_allowed() -> None:
    text = json.dumps({"f": lambda x: x + 1, "n": 1}, cls=TuneFunctionEncoder)
    with pytest.raises(ValueError, match="holds a pickle"):
        json.loads(text, cls=TuneFunctionDecoder)
    found = json.loads(text, cls=TuneFunctionDecoder, allow_cloudpickle=True)
    assert found["f"](1) == 2
    assert found["n"] == 1


def test_a_tee_writes_to_both_even_if_one_is_closed() -> None:
    one, two = io.StringIO(), io.StringIO()
    tee = running.Tee(one, two)
    assert tee.write("both") == 4
    tee.flush()
    assert one.getvalue() == two.getvalue() == "both"
    two.close()
    tee.write("!")
    assert one.getvalue() == "both!"
    assert tee.encoding == one.encoding
    assert tee.newlines == one.newlines
    for method in (tee.read, tee.readline, tee.tell, tee.detach):
        with pytest.raises(io.UnsupportedOperation):
            method()


def test_a_function_is_tried_again() -> None:
    calls: list[int] = []

    def third() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("not yet")

    assert running.retry_fn(third, OSError, num_retries=3, sleep_time=0)
    assert len(calls) == 3
    calls.clear()
    assert not running.retry_fn(third, [OSError], num_retries=2, sleep_time=0)
    calls.clear()
    with pytest.raises(OSError, match="not yet"):
        running.retry_fn(third, ValueError, sleep_time=0)
    blocked = threading.Event()
    assert not running.retry_fn(lambda: blocked.wait(10), num_retries=1, timeout=0.05)
    blocked.set()


def test_slow_blocks_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with tools.warn_if_slow("quick", threshold=60) as quick:
        pass
    with (
        caplog.at_level("WARNING", "shoal.tune"),
        tools.warn_if_slow("slow", threshold=0, message="{name}!") as slow,
    ):
        pass
    assert not quick.too_slow
    assert slow.too_slow
    assert [record.message for record in caplog.records] == ["slow!"]


def test_points_to_begin_with_must_fit() -> None:
    running.validate_warmstart(["lr"], [{"lr": 1}], [0.5])
    for points, rewards, kind in (
        ("no", None, TypeError),
        ([3], None, TypeError),
        ([{}], None, ValueError),
        ([{"lr": 1}], [1, 2], ValueError),
        ([{"lr": 1}], 3, TypeError),
    ):
        with pytest.raises(kind):
            running.validate_warmstart(["lr"], points, rewards)


def test_the_load_is_sampled() -> None:
    monitor = UtilMonitor(delay=0.01)
    try:
        found: dict[str, float] = {}
        for _ in range(1000):
            found = monitor.get_data()
            if found:
                break
            threading.Event().wait(0.01)
        assert 0 < found["perf/ram_util_percent"] <= 100
        assert 0 <= found["perf/cpu_util_percent"] <= 100
    finally:
        monitor.stop()
    assert not monitor.is_alive()


def test_how_much_is_said_is_set() -> None:
    try:
        set_verbosity(1)
        assert has_verbosity(Verbosity.V1_EXPERIMENT)
        assert not has_verbosity(2)
        with pytest.raises(ConfigError, match="verbosity is one of"):
            set_verbosity(9)
    finally:
        set_verbosity(Verbosity.V3_TRIAL_DETAILS)
    with pytest.raises(ConfigError, match="GPU"):
        tools.wait_for_gpu(gpu_id="99", retry=1)
