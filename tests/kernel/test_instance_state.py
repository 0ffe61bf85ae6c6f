"""The state of an instance: taken and given back as pickle would, unless the class says what is kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.errors import StateNotSaved
from shoal.serial import pack_bytes
from shoal.serial.state import capture_state, restore_state


class Attributes:
    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.numbers = np.arange(1000)
        self.words = {"a": [1, 2]}


class Slots:
    __slots__ = ("left", "right")

    def __init__(self) -> None:
        self.left = 1  # and right is not set


class Both(Slots):
    def __init__(self) -> None:
        super().__init__()
        self.more = 3


class Chosen:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 7

    def __getstate__(self) -> dict[str, Any]:
        return {"count": self.count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        self.lock = threading.Lock()


class Empty:
    pass


class ByMethods:
    def __init__(self, factor: int = 2) -> None:
        self.factor = factor
        self.count = 0

    def checkpoint(self) -> int:
        return self.count

    def restore(self, value: int) -> None:
        self.count = value


class Reduced:
    def __reduce__(self) -> Any:
        return Reduced, ()


class Listed(OrderedDict[str, int]):
    pass


class Failing:
    def __getstate__(self) -> Any:
        raise RuntimeError("not now")


def through(instance: Any, by_methods: bool = False) -> Any:
    cls = type(instance)
    packed = pack_bytes(capture_state(instance, by_methods))
    return restore_state(cls, cls, packed, by_methods)


def test_attributes_come_back_without_the_constructor() -> None:
    Attributes.made = 0
    back = through(Attributes())
    assert Attributes.made == 1
    assert back.numbers.sum() == 499_500
    assert back.words == {"a": [1, 2]}


def test_slots_come_back_too() -> None:
    back = through(Slots())
    assert back.left == 1
    assert not hasattr(back, "right")
    both = through(Both())
    assert (both.left, both.more) == (1, 3)


def test_a_class_may_choose() -> None:
    back = through(Chosen())
    assert back.count == 7
    assert back.lock.acquire(blocking=False)
    assert vars(through(Empty())) == {}


def test_the_pair_goes_before_attributes() -> None:
    instance = ByMethods(5)
    instance.count = 9
    back = through(instance, by_methods=True)
    assert (back.factor, back.count) == (2, 9), "constructed as the first time, then restored"


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        (Reduced(), "checkpoint"),
        (Listed(a=1), "checkpoint"),
        (Failing(), "RuntimeError: not now"),
    ],
)
def test_what_cannot_be_kept_says_so(instance: Any, message: str) -> None:
    with pytest.raises(StateNotSaved, match=message):
        capture_state(instance, False)


def test_a_lock_is_named() -> None:
    instance = Empty()
    instance.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(StateNotSaved, match=r"'lock'.*__getstate__"):
        capture_state(instance, False)


def test_references_are_refused() -> None:
    with shoal.init(engine="inline"):
        instance = Empty()
        instance.ref = shoal.put(1)  # type: ignore[attr-defined]
        with pytest.raises(StateNotSaved, match=r"holds 1 ObjectRef"):
            capture_state(instance, False)
        del instance.ref  # type: ignore[attr-defined]
