"""The list that wait() returns behaves as a list, and forgets that it was checked when something is put in."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shoal
from shoal.api.checked import CheckedList

CHANGES: list[Callable[[Any], Any]] = [
    lambda items: items.append(7),
    lambda items: items.extend([7]),
    lambda items: items.insert(0, 7),
    lambda items: items.__setitem__(0, 7),
    lambda items: items.__iadd__([7]),
    lambda items: items.__imul__(2),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_puts_something_in_does_so_and_is_noticed(change: Callable[[Any], Any]) -> None:
    plain = [1, 2, 3]
    checked = CheckedList(plain)
    assert change(checked) == change(plain)
    assert checked == plain
    assert not checked.checked


def test_taking_out_is_no_reason_to_check_again() -> None:
    checked = CheckedList([3, 1, 2])
    checked.sort()
    checked.pop()
    del checked[0]
    assert checked == [2]
    assert checked.checked


def test_copies_are_plain_lists() -> None:
    checked = CheckedList([1, 2])
    for other in (checked[:], checked.copy(), copy.copy(checked), pickle.loads(pickle.dumps(checked))):
        assert type(other) is list
        assert other == [1, 2]


@pytest.fixture
def inline() -> Iterator[None]:
    with shoal.init(engine="inline"):
        yield


@pytest.mark.usefixtures("inline")
def test_wait_finds_what_was_put_into_the_rest() -> None:
    refs = [shoal.put(number) for number in range(100)]
    _, rest = shoal.wait(refs)
    _, rest = shoal.wait(rest)
    assert len(rest) == 98
    rest.append(rest[0])
    with pytest.raises(ValueError, match="given twice"):
        shoal.wait(rest)
    rest[-1] = 5  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="item 98"):
        shoal.wait(rest)
