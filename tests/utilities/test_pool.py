"""multiprocessing.Pool on actors: what CPython asks of its own pool, and what only ours does."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Iterator
from typing import Any

import pytest

import shoal
from shoal.errors import ActorError
from shoal.util.multiprocessing import Pool, TimeoutError  # noqa: A004

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("processes")]

# What CPython tests of its pool that holds for processes anywhere. The others look into its threads and pipes, count
# its references, or test what `fork` does to the parent.
OF_CPYTHON = [
    "test_apply",
    "test_map",
    "test_starmap",
    "test_starmap_async",
    "test_map_async",
    "test_map_async_callbacks",
    "test_map_no_failfast",
    "test_async",
    "test_async_timeout",
    "test_imap",
    "test_imap_handle_iterable_exception",
    "test_imap_unordered",
    "test_imap_unordered_handle_iterable_exception",
    "test_make_pool",
    "test_terminate",
    "test_empty_iterable",
    "test_context",
    "test_enter",
]


POOL, TIMEOUT_ERROR = Pool, TimeoutError  # a class body cannot give a name its own value


def run_of_cpython(name: str) -> unittest.TestResult:
    original = pytest.importorskip("test._test_multiprocessing", exc_type=ImportError)

    if not hasattr(original._TestPool, name):
        pytest.skip("this Python's own tests have none of that name")

    class OfCPython(original._TestPool, unittest.TestCase):  # type: ignore[name-defined,misc]
        TYPE = "processes"
        Pool = staticmethod(POOL)
        TimeoutError = TIMEOUT_ERROR
        Event = staticmethod(threading.Event)

        @classmethod
        def setUpClass(cls) -> None:
            cls.pool = Pool(4)

        @classmethod
        def tearDownClass(cls) -> None:
            cls.pool.terminate()
            cls.pool.join()

    result = unittest.TestResult()
    unittest.TestSuite([OfCPython(name)]).run(result)
    return result


@pytest.mark.parametrize("name", OF_CPYTHON)
def test_what_cpython_asks_of_its_own_pool(name: str) -> None:
    try:
        result = run_of_cpython(name)
    except unittest.SkipTest as reason:
        pytest.skip(f"CPython's tests do not run here: {reason}")
    assert result.testsRun == 1
    assert [text for _, text in [*result.failures, *result.errors, *result.skipped]] == []


def fail_on_odd(value: int) -> int:
    if value % 2:
        raise KeyError(value)
    return value


def process_id(_: Any) -> int:
    return os.getpid()


def test_work_runs_in_other_processes() -> None:
    with Pool(2) as pool:
        found = set(pool.map(process_id, range(100), chunksize=1))
    assert os.getpid() not in found
    assert 1 <= len(found) <= 2


def test_the_initializer_runs_once_in_each_process() -> None:
    def begin(value: int) -> None:
        os.environ["BEGUN_WITH"] = str(value)

    with Pool(2, initializer=begin, initargs=(7,)) as pool:
        assert set(pool.map(lambda _: os.environ["BEGUN_WITH"], range(8))) == {"7"}


def test_processes_are_replaced_after_so_many_batches() -> None:
    with Pool(1, maxtasksperchild=2) as pool:
        found = [pool.apply(process_id, (None,)) for _ in range(6)]
    assert len(set(found)) == 3


def test_an_error_is_of_the_users_class_and_others_go_on() -> None:
    with Pool(2) as pool:
        with pytest.raises(KeyError):
            pool.map(fail_on_odd, range(4), chunksize=1)
        good, bad = pool.apply_async(fail_on_odd, (2,)), pool.apply_async(fail_on_odd, (3,))
        assert good.get(60) == 2
        bad.wait(60)
        assert not bad.successful()
        iterator = pool.imap(fail_on_odd, range(50))
        seen = []
        for _ in range(50):
            try:
                seen.append(next(iterator))
            except KeyError:
                seen.append(-1)
        assert seen == [value if value % 2 == 0 else -1 for value in range(50)]


def test_what_ends_its_process_raises_and_the_pool_goes_on() -> None:
    with Pool(1) as pool:
        with pytest.raises(ActorError):
            pool.apply(os._exit, (3,))
        assert pool.apply(abs, (-1,)) == 1


def test_close_lets_work_finish_and_takes_no_more() -> None:
    pool = Pool(2)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.map_async(abs, range(-1000, 0), chunksize=10)
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.apply(abs, (1,))
    pool.join()
    assert result.get(0) == list(range(1000, 0, -1))


def test_an_endless_iterable_is_read_ahead_but_not_without_end() -> None:
    given: list[int] = []

    def endless() -> Iterator[int]:
        for value in itertools.count():
            given.append(value)
            yield value

    with Pool(1) as pool:
        results = pool.imap(abs, endless(), chunksize=2)
        assert [next(results) for _ in range(100)] == list(range(100))
        end = time.monotonic() + 60
        while len(given) < 20_000 and time.monotonic() < end:
            pool.apply(abs, (-1,))
        for _ in range(200):  # time enough to go on, if it would
            pool.apply(abs, (-1,))
        assert 20_000 <= len(given) <= 20_300


def test_what_an_imap_has_begun_goes_on_after_close() -> None:
    pool = Pool(1)
    results = pool.imap(abs, range(12_000))
    pool.close()
    pool.join()
    assert list(results) == list(range(12_000))


def test_terminate_ends_what_runs() -> None:
    pool = Pool(1)
    result = pool.apply_async(wait_long)
    pool.terminate()
    with pytest.raises(ActorError):
        result.get(60)


def wait_long() -> None:
    threading.Event().wait(100)


def test_callbacks_are_called_before_the_result_is_ready() -> None:
    told: list[Any] = []
    with Pool(1) as pool:
        assert pool.apply_async(abs, (-3,), callback=told.append).get(60) == 3
        failed = pool.apply_async(fail_on_odd, (1,), error_callback=told.append)
        failed.wait(60)
    assert told[0] == 3
    assert isinstance(told[1], KeyError)


def test_what_cannot_be_pickled_fails_alone() -> None:
    lock = threading.Lock()
    with Pool(1) as pool:
        bad = pool.apply_async(abs, (lock,))
        good = [pool.apply_async(abs, (-value,)) for value in range(20)]
        with pytest.raises(TypeError, match="lock"):
            bad.get(60)
        assert [one.get(60) for one in good] == list(range(20))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"processes": 0}, ValueError, "at least 1"),
        ({"processes": "two"}, TypeError, "whole number"),
        ({"initializer": 1}, TypeError, "callable"),
        ({"maxtasksperchild": 0}, ValueError, "positive"),
        ({"context": "fork"}, TypeError, "context"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Pool(**arguments)


def test_a_pool_that_nobody_closed_ends_with_its_session() -> None:
    program = """
import threading
import shoal
from shoal.util.multiprocessing import Pool, pool
pool._LOOK_SECONDS = 0.05
with shoal.init(engine="inline"):
    kept = Pool(1)
    assert kept.map(abs, [-1]) == [1]
kept._thread.join(30)
print(kept._thread.is_alive())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_context_of_the_standard_library_is_accepted() -> None:
    with Pool(1, context=multiprocessing.get_context("spawn")) as pool:
        assert pool.map(abs, [-1]) == [1]
    assert shoal.is_initialized()
