"""Whatever a program gets wrong: the error names what came, what is allowed and what to do; nothing hangs or stays."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import assert_nothing_left, eventually

import shoal
from shoal import errors

pytestmark = pytest.mark.processes
SECONDS = 30


@pytest.fixture(scope="module", params=["native", "inline"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """One session for all tests of this module: a wrong input must not spoil it for the next."""
    context = shoal.init(engine=request.param, num_cpus=2, num_gpus=0)
    folder, name = context["session_dir"], context["session_name"]
    yield request.param
    shoal.shutdown()
    if request.param == "native":
        assert_nothing_left(folder, name)


@shoal.remote
def echo(value: Any) -> Any:
    return value


@shoal.remote
class Keeper:
    def __init__(self, value: Any = None) -> None:
        self.value = value

    def get(self) -> Any:
        return self.value

    def raise_it(self, error: BaseException) -> None:
        raise error

    async def other(self) -> None:
        return None


@shoal.remote
class Plain:
    def get(self) -> int:
        return 1


# Arguments and captures


def test_an_argument_that_cannot_be_pickled_is_named_with_its_path(engine: str) -> None:
    with pytest.raises(errors.NotSerializable) as caught:
        echo.remote({"deep": [1, threading.Lock()]})
    assert all(part in str(caught.value) for part in ("value", "deep", "[1]", "lock"))
    assert shoal.get(echo.remote(1), timeout=SECONDS) == 1


def test_a_constructors_argument_that_cannot_be_pickled_is_named(engine: str) -> None:
    with pytest.raises(errors.NotSerializable, match="value"):
        Keeper.remote(threading.Lock())


def test_a_methods_argument_that_cannot_be_pickled_is_named(engine: str) -> None:
    keeper = Keeper.remote()
    with pytest.raises(errors.NotSerializable, match="lock"):
        keeper.raise_it.remote(threading.Lock())
    assert shoal.get(keeper.get.remote(), timeout=SECONDS) is None


def test_a_captured_variable_that_cannot_be_pickled_is_named(engine: str) -> None:
    guard = threading.Lock()

    @shoal.remote
    def careless() -> bool:
        return guard.locked()

    with pytest.raises(errors.NotSerializable, match="guard"):
        careless.remote()


def test_put_of_what_cannot_be_pickled_names_the_path(engine: str) -> None:
    with pytest.raises(errors.NotSerializable, match="inner"):
        shoal.put({"inner": threading.Lock()})


def test_too_many_or_unknown_arguments_are_refused_at_the_call(engine: str) -> None:
    with pytest.raises(TypeError, match="echo"):
        echo.remote()
    with pytest.raises(TypeError, match="surplus"):
        echo.remote(1, surplus=2)
    with pytest.raises(TypeError, match="value"):
        Plain.remote(value=1)


# Calls and options


def test_a_remote_function_is_not_called_directly(engine: str) -> None:
    with pytest.raises(TypeError, match=r"echo\.remote"):
        echo(1)
    with pytest.raises(TypeError, match=r"Plain\.remote"):
        Plain()
    plain = Plain.remote()
    with pytest.raises(TypeError, match=r"get\.remote"):
        plain.get()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"num_cpu": 1}, "num_cpus"),
        ({"surprise": 1}, "max_retries"),
        ({"max_restarts": 1}, "actor"),
        ({"num_cpus": -1}, "≥ 0"),
        ({"num_cpus": "two"}, "number"),
        ({"num_cpus": float("nan")}, "finite"),
        ({"num_cpus": 0.00001}, "0.0001"),
        ({"resources": {"disk": -1}}, "disk"),
        ({"resources": {"CPU": 1}}, "num_cpus"),
        ({"resources": [1]}, "mapping"),
        ({"num_returns": -1}, "num_returns"),
        ({"num_returns": "two"}, "streaming"),
        ({"max_retries": -2}, "−1"),
        ({"max_calls": 1.5}, "whole number"),
        ({"retry_exceptions": [1]}, "exception classes"),
        ({"name": ""}, "not empty"),
        ({"scheduling_strategy": "EVERYWHERE"}, "SPREAD"),
        ({"label_selector": {"a": "in("}}, "in(a, b)"),
        ({"runtime_env": {"pipp": ["x"]}}, "pipp"),
    ],
)
def test_options_of_a_task_are_checked_at_the_call(engine: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        echo.options(**options).remote(1)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_retries": 1}, "task"),
        ({"max_concurency": 2}, "max_concurrency"),
        ({"max_concurrency": 0}, "≥ 1"),
        ({"lifetime": "eternal"}, "detached"),
        ({"concurrency_groups": {"io": 0}}, "≥ 1"),
        ({"max_pending_calls": 0}, "≥ 1"),
        ({"max_restarts": -2}, "−1"),
        ({"namespace": ""}, "not empty"),
    ],
)
def test_options_of_an_actor_are_checked_at_the_call(engine: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        Plain.options(**options).remote()
    assert says in str(caught.value)


def test_a_method_that_does_not_exist_is_refused_with_those_that_do(engine: str) -> None:
    plain = Plain.remote()
    with pytest.raises(AttributeError, match="get"):
        plain.gett.remote()


# References


@pytest.mark.parametrize("wrong", [1, "ref", None, {"a": 1}])
def test_get_of_no_reference_says_that_arguments_are_resolved(engine: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match="already resolved"):
        shoal.get(wrong)


def test_get_in_a_task_of_an_argument_that_was_resolved(engine: str) -> None:
    @shoal.remote
    def get_again(value: Any) -> Any:
        return shoal.get(value)

    with pytest.raises(TypeError, match="already resolved"):
        shoal.get(get_again.remote(shoal.put(1)), timeout=SECONDS)


def test_get_inside_an_async_actor_says_to_await(engine: str) -> None:
    @shoal.remote
    class Asking:
        async def ask(self, refs: list[Any]) -> Any:
            return shoal.get(refs[0])

    with pytest.raises(RuntimeError, match="await ref"):
        shoal.get(Asking.remote().ask.remote([shoal.put(1)]), timeout=SECONDS)


def test_a_futures_callback_may_get(engine: str) -> None:
    got: list[Any] = []
    future = echo.remote(1).future()
    future.add_done_callback(
        lambda done: got.append(shoal.get(echo.remote(done.result() + 1), timeout=SECONDS))
    )
    assert shoal.get(echo.remote(5), timeout=SECONDS) == 5
    eventually(lambda: got == [2], "the callback has its value", SECONDS)


def test_ten_thousand_references_to_one_call(engine: str) -> None:
    @shoal.remote
    def total(*values: int) -> int:
        return sum(values)

    @shoal.remote
    def total_inside(refs: list[Any]) -> int:
        return sum(shoal.get(refs))

    refs = [shoal.put(number) for number in range(10_000)]
    assert shoal.get(total.remote(*refs), timeout=60) == sum(range(10_000))
    assert shoal.get(total_inside.remote(refs), timeout=60) == sum(range(10_000))


def test_recursion_deeper_than_there_are_cpus(engine: str) -> None:
    @shoal.remote
    def down(depth: int) -> int:
        return 0 if depth == 0 else 1 + shoal.get(down.remote(depth - 1))

    assert shoal.get(down.remote(12), timeout=60) == 12


# Actors


def test_a_taken_name_says_who_has_it_and_what_to_do(engine: str) -> None:
    first = Plain.options(name="only one").remote()
    shoal.get(first.get.remote(), timeout=SECONDS)
    with pytest.raises(errors.ActorNameTaken) as caught:
        Plain.options(name="only one").remote()
    assert all(part in str(caught.value) for part in ("only one", "get_if_exists"))
    shoal.kill(first)
    again = Plain.options(name="only one").remote()
    assert shoal.get(again.get.remote(), timeout=SECONDS) == 1, "a killed actor's name is free at once"


def test_an_unknown_name_lists_those_that_there_are(engine: str) -> None:
    named = Plain.options(name="known").remote()
    shoal.get(named.get.remote(), timeout=SECONDS)
    with pytest.raises(ValueError, match="known"):
        shoal.get_actor("unknown name")


def test_a_dead_handle_says_why_it_is_dead(engine: str) -> None:
    plain = Plain.remote()
    shoal.get(plain.get.remote(), timeout=SECONDS)
    shoal.kill(plain)
    for _ in range(2):
        with pytest.raises(errors.ActorDied, match="kill"):
            shoal.get(plain.get.remote(), timeout=SECONDS)


def test_a_method_whose_options_are_wrong(engine: str) -> None:
    plain = Plain.remote()
    with pytest.raises(errors.ConfigError, match="num_returns"):
        plain.get.options(num_cpus=1).remote()


# Results and errors


class Picky(Exception):
    """Its constructor takes other arguments than its args."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code


class Locked(Exception):
    def __init__(self) -> None:
        super().__init__("cannot travel")
        self.lock = threading.Lock()


def test_an_error_with_a_constructor_of_its_own(engine: str) -> None:
    @shoal.remote
    def fail() -> None:
        raise Picky(7, reason="because")

    with pytest.raises(Picky) as caught:
        shoal.get(fail.remote(), timeout=SECONDS)
    assert caught.value.code == 7
    assert "because (7)" in str(caught.value)


def test_an_error_that_cannot_be_pickled_keeps_text_and_traceback(engine: str) -> None:
    @shoal.remote
    def fail_here() -> None:
        raise Locked

    with pytest.raises(errors.TaskError) as caught:
        shoal.get(fail_here.remote(), timeout=SECONDS)
    assert "cannot travel" in str(caught.value)
    assert "fail_here" in str(caught.value)


def test_a_result_that_cannot_be_pickled(engine: str) -> None:
    @shoal.remote
    def give() -> Any:
        return {"part": threading.Lock()}

    with pytest.raises(errors.NotSerializable, match="part"):
        shoal.get(give.remote(), timeout=SECONDS)


def _explode() -> None:
    raise ValueError("not to be loaded")


class Mine:
    """Pickles, but does not unpickle."""

    def __reduce__(self) -> Any:
        return _explode, ()


class BadToLoad(Exception):
    def __reduce__(self) -> Any:
        return _explode, ()


class BadToPrint(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class NoException(BaseException):
    pass


RAISED: dict[str, Callable[[], BaseException]] = {
    "loads badly": lambda: BadToLoad("x"),
    "prints badly": BadToPrint,
    "no Exception": lambda: NoException("y"),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(3),
}


@shoal.remote
def raise_it(name: str) -> None:
    raise RAISED[name]()


@shoal.remote
class Raiser:
    def raise_it(self, name: str) -> None:
        raise RAISED[name]()

    def give(self) -> Mine:
        return Mine()

    def get(self) -> int:
        return 1


@pytest.mark.parametrize("name", sorted(RAISED))
def test_whatever_is_raised_arrives_as_an_error_and_ends_nothing(engine: str, name: str) -> None:
    if (engine, name) == ("inline", "KeyboardInterrupt"):
        pytest.skip("in the program's own process it is a Ctrl-C, and the program's")
    raiser = Raiser.remote()
    for ref in (raise_it.remote(name), raiser.raise_it.remote(name)):
        with pytest.raises(errors.TaskError, match="raise_it"):
            shoal.get(ref, timeout=SECONDS)
    assert shoal.get(raiser.get.remote(), timeout=SECONDS) == 1


def test_a_value_that_does_not_unpickle_is_the_error_of_whoever_loads_it(engine: str) -> None:
    raiser = Raiser.remote()
    with pytest.raises(ValueError, match="not to be loaded"):
        shoal.get(echo.remote(Mine()), timeout=SECONDS)
    with pytest.raises(ValueError, match="not to be loaded"):
        shoal.get(raiser.give.remote(), timeout=SECONDS)
    with pytest.raises(ValueError, match="not to be loaded"):
        shoal.get(echo.remote(raiser.give.remote()), timeout=SECONDS)
    assert shoal.get(raiser.get.remote(), timeout=SECONDS) == 1


@pytest.mark.parametrize("returned", [(1, 2), (1, 2, 3, 4), 5, None])
def test_a_number_of_results_that_is_not_num_returns(engine: str, returned: Any) -> None:
    refs = echo.options(num_returns=3).remote(returned)
    for ref in refs:
        with pytest.raises(ValueError, match="num_returns=3"):
            shoal.get(ref, timeout=SECONDS)


def test_a_stream_of_what_is_no_generator(engine: str) -> None:
    stream = echo.options(num_returns="streaming").remote(5)
    [ref] = list(stream)
    with pytest.raises(TypeError, match="iter"):
        shoal.get(ref, timeout=SECONDS)


def test_the_session_is_as_good_as_new_after_all_that(engine: str) -> None:
    assert shoal.get([echo.remote(number) for number in range(50)], timeout=SECONDS) == list(range(50))
    eventually(lambda: shoal.available_resources().get("CPU") == 2, "every CPU is free again")


# Only where work runs in processes of its own


@pytest.fixture
def native(engine: str) -> str:
    if engine != "native":
        pytest.skip("everything runs in this process")
    return engine


def test_exit_in_a_task_is_a_crash_that_tells_the_code(native: str) -> None:
    @shoal.remote(max_retries=0)
    def leave(how: str) -> None:
        sys.exit(3) if how == "sys.exit" else os._exit(3)

    for how in ("sys.exit", "os._exit"):
        with pytest.raises(errors.WorkerCrashed, match="exit code 3") as caught:
            shoal.get(leave.remote(how), timeout=SECONDS)
        assert caught.value.cause is not None
        assert caught.value.cause.exit_code == 3


def test_a_module_that_is_missing_in_the_worker_is_named(native: str, tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("class Thing:\n    pass\n\ndef make():\n    return Thing()\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import only_here  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(tmp_path))
    try:
        with pytest.raises(ModuleNotFoundError, match="only_here"):
            shoal.get(echo.remote(only_here.Thing()), timeout=SECONDS)
        with pytest.raises(ModuleNotFoundError, match="only_here"):
            shoal.get(shoal.remote(only_here.make).remote(), timeout=SECONDS)
        with pytest.raises(errors.ActorDied, match="only_here"):
            shoal.get(Keeper.remote(only_here.Thing()).get.remote(), timeout=SECONDS)
    finally:
        del sys.modules["only_here"]


def test_a_result_that_cannot_be_unpickled_here(native: str) -> None:
    @shoal.remote
    def give() -> Any:
        import types

        module = types.ModuleType("only_there")
        exec("class Thing:\n    pass\n", module.__dict__)
        sys.modules["only_there"] = module
        return module.Thing()

    with pytest.raises(ModuleNotFoundError, match="only_there"):
        shoal.get(give.remote(), timeout=SECONDS)
    assert shoal.get(echo.remote(1), timeout=SECONDS) == 1
