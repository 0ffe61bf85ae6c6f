"""Errors that cross processes."""

from __future__ import annotations

import asyncio
import builtins
import pickle
import sys
import threading
import traceback
from typing import Any

import pytest

from shoal.death import Cause, DeathCertificate
from shoal.errors import (
    ActorDied,
    ConfigError,
    ExceptionNotSerializable,
    GetTimeout,
    ObjectFreed,
    ShoalError,
    TaskCancelled,
    TaskError,
)
from shoal.serial import dump_error, load_error


class OtherArguments(Exception):
    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.code, self.hint = code, hint


class Slotted(Exception):
    __slots__ = ("extra",)


class NoArguments(Exception):
    def __init__(self, *, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        return f"the code is {self.code}"


class Final(Exception):
    def __init_subclass__(cls) -> None:
        raise TypeError("this class is final")


class StrangeNew(Exception):
    def __new__(cls, *args: Any) -> Any:
        if len(args) != 2:
            raise TypeError("two, please")
        return super().__new__(cls, *args)


class ClashingNames(Exception):
    """Has attributes of the names that TaskError uses."""

    def __init__(self) -> None:
        super().__init__("clash")
        self.function, self.node, self.original = "theirs", 5, "mine"


class Frozen(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("__traceback__", "__context__", "__cause__"):
            raise AttributeError("frozen")
        super().__setattr__(name, value)


class WithLock(Exception):
    def __init__(self) -> None:
        super().__init__("text stays")
        self.lock = threading.Lock()


class BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def across(error: BaseException, times: int = 1) -> BaseException:
    """Raise, catch, dump and load an error, as often as there are processes on its way."""
    for _ in range(times):
        try:
            raise error
        except BaseException as caught:
            error = load_error(dump_error(caught, "work", 7, "ab"))
    return error


def slotted() -> Slotted:
    error = Slotted("s")
    error.extra = [1]
    return error


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "error",
    [
        ValueError("v"),
        OSError(2, "gone", "name"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
        ImportError("i", name="n", path="p"),
        StopIteration(5),
        SyntaxError("s", ("file", 1, 2, "text")),
        OtherArguments(3, hint="h"),
        NoArguments(code=4),
        slotted(),
        StrangeNew(1, 2),
        Frozen("f"),
        GetTimeout("inner timeout"),
        ConfigError("inner setting"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_of_its_own_class_and_a_task_error(error: Exception, times: int) -> None:
    loaded = across(error, times)
    assert isinstance(loaded, type(error))
    assert isinstance(loaded, TaskError)
    assert loaded.args == error.args
    assert type(loaded.original) is type(error)
    assert loaded.__cause__ is loaded.original
    for name, value in vars(error).items():
        assert getattr(loaded, name) == value
    for name in ("errno", "filename", "start", "name", "path", "value", "lineno", "extra"):
        if hasattr(error, name):
            assert getattr(loaded, name) == getattr(error, name), name
    assert type(error).__name__ in str(loaded)
    assert "work() raised (pid=7, node=ab)" in str(loaded)


def test_the_users_attributes_win_over_ours() -> None:
    loaded = across(ClashingNames())
    assert isinstance(loaded, ClashingNames)
    assert (loaded.function, loaded.node) == ("theirs", 5)
    assert isinstance(loaded.original, ClashingNames)
    assert "clash" in str(loaded)


def test_a_class_that_will_not_be_combined_leaves_a_task_error() -> None:
    loaded = across(Final("last"))
    assert type(loaded) is TaskError
    assert isinstance(loaded.original, Final)
    assert "last" in str(loaded)


def test_an_error_that_cannot_be_pickled_keeps_its_text() -> None:
    loaded = across(WithLock(), times=2)
    assert type(loaded) is ExceptionNotSerializable
    assert "text stays" in str(loaded)
    assert "lock" in str(loaded)


def test_an_error_without_text() -> None:
    assert isinstance(across(BadText()), TaskError)


def test_a_class_that_is_missing_where_the_error_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dump_error(OtherArguments(1, hint="h"), "work")
    monkeypatch.delattr(sys.modules[__name__], "OtherArguments")
    loaded = load_error(data)
    assert type(loaded) is TaskError
    assert loaded.original is None
    assert "code 1" in str(loaded)
    assert "cannot be used here" in str(loaded)


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]
)
def test_what_would_end_the_caller_is_told_instead(error: BaseException) -> None:
    loaded = across(error)
    assert type(loaded) is TaskError
    assert type(error) is type(loaded.original)


@pytest.mark.parametrize("kind", [TaskCancelled, ActorDied, ObjectFreed])
def test_our_own_verdicts_arrive_as_they_are(kind: Any) -> None:
    certificate = DeathCertificate(what="actor", name="Counter", cause=Cause.SIGNALLED, signal=9)
    loaded = across(kind("why", certificate), times=2)
    assert type(loaded) is kind
    assert certificate == loaded.cause  # type: ignore[attr-defined]
    assert not isinstance(loaded, TaskError)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="this Python has no ExceptionGroup")
def test_groups_keep_their_parts() -> None:
    group = vars(builtins)["ExceptionGroup"]
    loaded: Any = across(group("g", [ValueError(1), OtherArguments(2, hint="h")]))
    assert isinstance(loaded, group)
    assert [type(part) for part in loaded.exceptions] == [ValueError, OtherArguments]
    assert loaded.exceptions[1].hint == "h"
    matching, _ = loaded.split(ValueError)
    assert matching is not None


def test_a_loaded_error_can_be_pickled() -> None:
    loaded = across(OtherArguments(1, hint="h"))
    again = pickle.loads(pickle.dumps(loaded))
    assert isinstance(again, OtherArguments)
    assert isinstance(again, TaskError)
    assert str(loaded) == str(again)


def test_the_traceback_is_the_users() -> None:
    def users_function() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    try:
        users_function()
    except ValueError as error:
        loaded = load_error(dump_error(error, "work"))
    text = str(loaded)
    assert text.index("KeyError: 'first'") < text.index("ValueError: second")
    assert "users_function" in text
    shown = "".join(traceback.format_exception(loaded))
    assert "users_function" in shown


def test_every_error_of_ours_can_be_caught_as_ours() -> None:
    for error in (ValueError("x"), SystemExit(1), WithLock(), Final(), TaskCancelled("c")):
        assert isinstance(across(error), ShoalError)


def test_an_error_that_holds_a_reference_is_told_as_text() -> None:
    from shoal.interfaces.refs import ObjectRef

    ref: ObjectRef[Any] = ObjectRef(bytes(20), None, None, lambda record: None)  # type: ignore[arg-type]
    loaded = across(ValueError("see", ref))
    assert type(loaded) is ExceptionNotSerializable
    assert "see" in str(loaded)
