"""Values to bytes and back."""

from __future__ import annotations

import collections
import math
import struct
import threading
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.errors import NotSerializable
from shoal.interfaces.refs import ObjectRef
from shoal.serial import (
    ALIGNMENT,
    Payload,
    dump_call,
    dump_function,
    dumps,
    function_hash,
    load_function,
    loads,
    pack,
    pack_bytes,
    pack_into,
    unpack,
)
from shoal.serial.pickling import LARGE

ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=50)
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.binary(max_size=50)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner) | st.frozensets(KEYS)
    ),
    max_leaves=40,
)


def same(one: Any, two: Any) -> bool:
    """Tell whether two values are equal and of the same types, with nan equal to itself."""
    if type(one) is not type(two):
        return False
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(two)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    return bool(one == two)


def again(value: Any) -> Any:
    payload = dumps(value)
    return loads(*unpack(pack_bytes(payload)), payload.refs)


def ref(number: int) -> ObjectRef[Any]:
    return ObjectRef(number.to_bytes(20, "big"), None, None, lambda record: None)  # type: ignore[arg-type]


@given(VALUES)
def test_what_goes_in_comes_out(value: Any) -> None:
    assert same(value, again(value))


@given(VALUES, st.sampled_from(["i4", "f8", "u1", "?"]), st.lists(st.integers(0, 5), max_size=3))
@settings(max_examples=50)
def test_arrays_among_other_things(value: Any, kind: str, shape: list[int]) -> None:
    array = numpy.ones(shape, kind)
    first, second, third = again((value, array, [array]))
    assert same(value, first)
    assert array.dtype == second.dtype
    assert (second == array).all()
    assert not second.flags.writeable
    assert third[0] is second


@pytest.mark.parametrize("kind", [bytes, bytearray])
@pytest.mark.parametrize("size", [0, LARGE - 1, LARGE, LARGE + 1, 10**6])
def test_bytes_around_the_limit(kind: Any, size: int) -> None:
    value = kind(b"\x01" * size)
    found = again(value)
    assert value == found
    assert type(found) is kind


def test_large_bytes_are_not_copied_into_the_pickle() -> None:
    payload = dumps(b"x" * 10**6)
    assert len(payload.data) < 100
    assert [buffer.nbytes for buffer in payload.buffers] == [10**6]


def test_what_only_looks_plain_keeps_its_type() -> None:
    class Name(str):
        pass

    pair = collections.namedtuple("pair", "a b")
    values = [Name("x"), pair(1, 2), collections.OrderedDict(a=1), collections.Counter("aab"), True]
    found = again(values)
    assert [type(value) for value in values] == [type(value) for value in found]
    assert values == found


def test_one_object_twice_stays_one_object() -> None:
    shared: list[int] = [1]
    one, two = again([shared, shared])
    assert one is two


def test_cycles() -> None:
    loop: list[Any] = []
    loop.append(loop)
    found = again(loop)
    assert found[0] is found


# References


def test_references_are_found_wherever_they_are() -> None:
    class Holder:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

    one, two, three = ref(1), ref(2), ref(3)
    refs: list[ObjectRef[Any]] = []
    payload = dumps({"a": [one, (two,)], "b": Holder(three), "again": ref(1)}, refs)
    assert [one, two, three] == refs
    live = [ref(1), ref(2), ref(3)]
    found = loads(payload.data, payload.buffers, live)
    assert found["a"][0] is live[0]
    assert found["a"][1][0] is live[1]
    assert found["b"].inner is live[2]
    assert found["again"] is live[0]


def test_several_values_share_one_list_of_references() -> None:
    refs: list[ObjectRef[Any]] = []
    first, second = dumps([ref(1), ref(2)], refs), dumps([ref(2), ref(3)], refs)
    assert [ref(1), ref(2), ref(3)] == refs
    assert [ref(1), ref(2)] == loads(first.data, (), refs)
    assert [ref(2), ref(3)] == loads(second.data, (), refs)


def test_a_failure_leaves_the_list_as_it_was() -> None:
    refs = [ref(9)]
    with pytest.raises(NotSerializable):
        dumps([ref(1), threading.Lock()], refs)
    assert [ref(9)] == refs
    with pytest.raises(NotSerializable):
        dump_call(len, "len", (ref(1), threading.Lock()), {}, refs)
    assert [ref(9)] == refs


def test_without_the_references_loading_says_what_is_missing() -> None:
    import pickle

    with pytest.raises(TypeError, match=r"holds ObjectRefs"):
        pickle.loads(dumps([ref(1)]).data)


# The packed layout


@given(st.binary(max_size=300), st.lists(st.binary(max_size=300), max_size=5), st.integers(0, 200))
def test_packing_is_undone_by_unpacking(data: bytes, buffers: list[bytes], extra: int) -> None:
    payload = Payload(data, [memoryview(buffer) for buffer in buffers])
    packed = pack_bytes(payload)
    assert len(packed) == payload.size
    assert packed == b"".join(pack(payload))
    room = bytearray(b"\xaa" * (len(packed) + extra))
    assert len(packed) == pack_into(memoryview(room), payload)
    found, parts = unpack(memoryview(room))
    assert data == found
    assert buffers == [bytes(part) for part in parts]
    assert found.readonly
    assert all(part.readonly for part in parts)


def test_buffers_are_aligned() -> None:
    arrays = [numpy.ones(n, "u1") for n in (1, 63, 64, 65)]
    packed = pack_bytes(dumps(arrays))
    _, parts = unpack(packed)
    start = numpy.frombuffer(packed, "u1").__array_interface__["data"][0]
    for part in parts:
        place = numpy.frombuffer(part, "u1").__array_interface__["data"][0] - start
        assert place % ALIGNMENT == 0


def test_what_does_not_fit_writes_nothing() -> None:
    payload = dumps([1, 2, 3])
    room = bytearray(payload.size - 1)
    with pytest.raises(ValueError, match="takes"):
        pack_into(memoryview(room), payload)
    assert bytearray(payload.size - 1) == room


def test_bytes_that_are_no_packed_value() -> None:
    packed = pack_bytes(dumps(numpy.ones(100)))
    for wrong in (b"", b"x" * 100, packed[:-1], packed[:20], struct.pack("<IIQ", 0, 0, 0)):
        with pytest.raises(ValueError, match=r"packed|few|cut"):
            unpack(wrong)


# Failures


class WithLock:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class WithSlot:
    __slots__ = ("trouble",)

    def __init__(self) -> None:
        self.trouble = WithLock()


def _captures() -> Any:
    trouble = threading.Lock()
    return lambda: trouble


def _defaults(x: Any = threading.Lock()) -> Any:  # noqa: B008
    return x


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (threading.Lock(), "thing: cannot pickle"),
        ([1, [2, WithLock()]], "thing → [1] → [1] → attribute 'lock': "),
        (
            {"a": {"b": (WithSlot(),)}},
            "thing → ['a'] → ['b'] → [0] → attribute 'trouble' → attribute 'lock': ",
        ),
        (_captures(), "thing → captured variable 'trouble': "),
        ((x for x in ()), "thing: "),
    ],
    ids=["itself", "list", "slots", "closure", "generator"],
)
def test_a_failure_names_the_path_to_the_part(value: Any, path: str) -> None:
    with pytest.raises(NotSerializable) as caught:
        dumps(value, what="thing")
    assert path in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_failure_of_an_argument_names_its_parameter() -> None:
    def f(first: Any, *rest: Any, named: Any = None, **more: Any) -> None: ...

    lock = threading.Lock()
    for args, kwargs, named in [
        ((lock,), {}, "'first'"),
        ((1, 2, [lock]), {}, "'rest[1]'"),
        ((1,), {"named": lock}, "'named'"),
        ((1,), {"other": lock}, "'other'"),
    ]:
        with pytest.raises(NotSerializable) as caught:
            dump_call(f, "f", args, kwargs)
        assert f"argument {named} of f()" in str(caught.value)


def test_what_is_nested_too_deeply_says_so() -> None:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    with pytest.raises(NotSerializable, match="nested more deeply"):
        dumps(deep)
    while deep:
        deep = deep[0]


def test_what_a_strange_reduce_raises_is_kept() -> None:
    class Strange:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("in reduce")

    with pytest.raises(NotSerializable, match="in reduce") as caught:
        dumps([Strange()])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# Functions


def test_functions_travel_by_value_or_by_name() -> None:
    offset = 5
    local = load_function(dump_function(lambda x: x + offset))
    assert local(3) == 8
    assert math.sqrt is load_function(dump_function(math.sqrt))


def test_the_hash_is_of_the_content() -> None:
    assert len(function_hash(b"a")) == 16
    assert function_hash(b"a") == function_hash(b"a") != function_hash(b"b")


def test_references_that_a_function_captures() -> None:
    captured = ref(5)
    refs: list[ObjectRef[Any]] = []
    data = dump_function(lambda: captured, refs)
    assert [captured] == refs
    assert load_function(data, [ref(5)])() == captured
    with pytest.raises(NotSerializable, match="captures"):
        dump_function(lambda: captured)


def test_a_function_that_cannot_travel_names_what_it_captures() -> None:
    lock = threading.Lock()

    def uses() -> Any:
        return lock

    with pytest.raises(NotSerializable, match="captured variable 'lock'"):
        dump_function(uses)


# Types that need help


def test_starlettes_state(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("starlette.datastructures")

    class State:  # answers every attribute from _state, as the real one
        def __init__(self, state: Any = None) -> None:
            super().__setattr__("_state", dict(state or {}))

        def __getattr__(self, key: str) -> Any:
            return self._state[key]

    State.__module__, State.__qualname__ = module.__name__, "State"
    module.State = State  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "starlette", types.ModuleType("starlette"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert again(State({"a": 1}))._state == {"a": 1}


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int64", "bool"])
def test_tensors(kind: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.ones(3, 4).to(getattr(torch, kind))
    for value in (tensor, tensor.T, tensor[:0], tensor[1:, ::2]):
        found = again(value)
        assert value.dtype == found.dtype
        assert torch.equal(value, found)
        found.zero_()
    assert bool(tensor.all())
