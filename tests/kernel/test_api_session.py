"""Sessions of the public API, over the inline engine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

import shoal
from shoal.api import session as session_module
from shoal.errors import ConfigError, NotInitialized
from shoal.interfaces.current import current


@pytest.fixture(autouse=True)
def _no_session_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SHOAL_ENGINE", "inline")
    assert not shoal.is_initialized()
    yield
    shoal.shutdown()


@shoal.remote
def one() -> int:
    return 1


@pytest.mark.parametrize(
    "use",
    [
        lambda: shoal.get(one.remote()),
        lambda: shoal.get(shoal.put(1)),
        lambda: shoal.get([]),
        lambda: shoal.nodes(),
        lambda: shoal.get_runtime_context(),
        lambda: shoal.list_named_actors(),
    ],
)
def test_the_first_use_begins_a_session(use: Any) -> None:
    use()
    assert shoal.is_initialized()
    assert shoal.init(ignore_reinit_error=True)["engine"] == "inline"


def test_threads_begin_one_session_together() -> None:
    barrier = threading.Barrier(8)
    engines = []

    def use() -> None:
        barrier.wait(30)
        shoal.get(one.remote())
        engines.append(current.engine)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(engines) == 8
    assert len(set(map(id, engines))) == 1


def test_local_mode_is_the_inline_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOAL_ENGINE")
    assert shoal.init(local_mode=True)["engine"] == "inline"
    shoal.shutdown()
    with pytest.raises(ConfigError, match="local_mode"):
        shoal.init(local_mode=True, engine="native")


def test_names_of_the_reference_system(tmp_path: Any) -> None:
    shoal.init(
        "local",
        num_cpus=3,
        num_gpus=2,
        object_store_memory=10**8,
        _memory=10**9,
        _temp_dir=str(tmp_path),
        logging_level="INFO",
        log_to_driver=False,
        configure_logging=True,
        include_dashboard=False,
        labels={"a": "b"},
        resources={"x": 1},
    )
    found = shoal.cluster_resources()
    assert found == {"CPU": 3, "GPU": 2, "memory": 10**9, "object_store_memory": 10**8, "x": 1}
    assert str(tmp_path) == shoal.get_runtime_context().get_temp_dir()


@pytest.mark.parametrize(
    ("level", "name"),
    [(10, "debug"), ("WARN", "warning"), (30, "warning"), ("critical", "error"), (None, None)],
)
def test_levels_of_logging(level: Any, name: str | None) -> None:
    assert name == session_module._level_name(level)


def test_a_setting_given_twice() -> None:
    with pytest.raises(ConfigError, match="'memory_bytes' was given twice"):
        shoal.init(_memory=10**9, memory_bytes=10**9)


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'num_cpuss'.*did you mean 'num_cpus'"):
        shoal.init(num_cpuss=1)


def test_an_address_is_no_business_of_the_inline_engine() -> None:
    with pytest.raises(ConfigError, match="joins no cluster"):
        shoal.init("10.0.0.1:1234")


def test_local_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_ADDRESS", "10.0.0.1:1234")
    with pytest.raises(ConfigError):
        shoal.init()
    assert shoal.init("local")["engine"] == "inline"


def test_the_context_is_a_mapping_that_ends_its_own_session_only() -> None:
    first = shoal.init()
    assert dict(first) == first.address_info
    assert len(first) == len(list(first))
    assert first["node_id"] in repr(first)
    shoal.shutdown()
    shoal.init()
    first.disconnect()
    assert shoal.is_initialized()


def test_an_exception_ends_the_session_too() -> None:
    with pytest.raises(KeyError), shoal.init():
        raise KeyError
    assert not shoal.is_initialized()


def test_a_child_by_fork_is_told_why_it_cannot_go_on() -> None:
    shoal.init()
    ref = shoal.put(1)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of pytest may run in here
        words = []
        for use in (lambda: shoal.put(1), lambda: shoal.init(), lambda: shoal.get(ref), lambda: one.remote()):
            try:
                use()
            except NotInitialized as error:
                words.append(str(error))
            except BaseException:
                words.append(traceback.format_exc())
        os.write(tell, "\n".join(words).encode())
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as answer:
        lines = answer.read().splitlines()
    os.waitpid(child, 0)
    assert len(lines) == 4, lines
    assert all("forked" in line for line in lines), lines
    assert shoal.get(ref) == 1


def test_a_program_that_forgets_to_shut_down_ends_cleanly() -> None:
    code = "import shoal; shoal.init(engine='inline'); r = shoal.put(1); print(shoal.get(r))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
