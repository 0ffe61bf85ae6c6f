"""shoal.values: values as bytes for libraries."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.errors import NotSerializable, TaskError
from shoal.values import pack, pack_error, unpack, unpack_error, unpack_plain


@pytest.mark.parametrize("value", [None, 5, "text", [1, {"a": (2, 3)}], bytes(100_000), {1, 2}])
def test_values_come_back(value: Any) -> None:
    assert unpack(pack(value).to_bytes()) == value


def test_plain_values_are_one_pickle() -> None:
    packed = pack([1, 2])
    assert packed.is_plain
    assert unpack_plain(packed.pickled) == [1, 2]
    assert not pack(np.zeros(10)).is_plain


def test_arrays_are_views_of_the_memory_and_tell_whether_they_are_used() -> None:
    memory = bytearray(10_000)
    packed = pack({"array": np.arange(100)})
    assert packed.write_into(memoryview(memory)) == packed.size
    views: list[memoryview] = []
    value = unpack(memory, views.append)
    assert value["array"].sum() == 4950
    assert not value["array"].flags.writeable
    used = sys.getrefcount(views[0])
    del value
    left = sys.getrefcount(views[0])
    assert left < used


def test_memory_that_is_too_small() -> None:
    with pytest.raises(ValueError, match="the memory given has 10"):
        pack(np.zeros(100)).write_into(memoryview(bytearray(10)))


def test_references_do_not_fit_into_bytes() -> None:
    with shoal.init(engine="inline"):
        ref = shoal.put(1)
        with pytest.raises(NotSerializable, match="the mail holds"):
            pack([ref], "the mail")
        del ref


def test_errors_keep_class_and_traceback() -> None:
    try:
        raise KeyError("missing")
    except KeyError as error:
        packed = pack_error(error, "lookup")
    again = unpack_error(packed)
    assert isinstance(again, KeyError)
    assert isinstance(again, TaskError)
    assert "test_errors_keep_class" in again.remote_traceback
