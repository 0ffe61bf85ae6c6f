"""The engine's contract: objects and references."""

# mypy does not see what a decorator makes of a class (pyright does), and get() of a handle's call is Any.
# mypy: disable-error-code="attr-defined, no-any-return, unused-ignore"

from __future__ import annotations

import pickle
from typing import Any

import pytest

import shoal
from shoal.errors import GetTimeout, NotSerializable, ObjectFreed
from shoal.testing.engine_base import EnginePart, get, needs
from shoal.testing.engine_gates import Gate

PLAIN = [
    None,
    True,
    -(2**100),
    1.5,
    complex(1, 2),
    "text €",
    b"bytes",
    bytearray(b"array"),
    (1, (2, [3])),
    {"a": {1, 2}, ("k", 1): frozenset("x")},
    range(3),
    slice(1, 2),
    Ellipsis,
    int,
]


class ObjectPart(EnginePart):
    """put and get."""

    @pytest.mark.parametrize("value", PLAIN, ids=repr)
    def test_what_is_put_can_be_got(self, value: Any) -> None:
        again = get(shoal.put(value))
        assert value == again
        assert type(value) is type(again)

    @pytest.mark.parametrize("size", [10, 99_999, 300_000, 20_000_000])
    def test_large_values(self, size: int) -> None:
        data = b"\x07" * size
        assert data == get(shoal.put(data))

    def test_what_is_put_is_a_copy(self) -> None:
        mine = {"a": [1]}
        ref = shoal.put(mine)
        mine["a"].append(2)
        assert get(ref) == {"a": [1]}
        get(ref)["a"].append(3)
        assert get(ref) == {"a": [1]}

    def test_get_of_lists(self) -> None:
        refs = [shoal.put(i) for i in range(5)]
        assert get(refs) == [0, 1, 2, 3, 4]
        assert get(tuple(refs[:2])) == [0, 1]
        assert get([refs[3], refs[3]]) == [3, 3]
        assert get([]) == []

    def test_a_reference_cannot_be_put(self) -> None:
        with pytest.raises(TypeError, match="inside a list"):
            shoal.put(shoal.put(1))
        assert get(get(shoal.put([shoal.put(1)]))[0]) == 1

    @pytest.mark.parametrize("wrong", [3, "text", {"a": 1}, None])
    def test_get_of_something_else_says_what_to_do(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match=r"ObjectRef.*already resolved"):
            get(wrong)

    def test_get_names_the_item_at_fault(self) -> None:
        with pytest.raises(TypeError, match=r"item 1 .* int"):
            get([shoal.put(1), 5])
        with pytest.raises(TypeError, match=r"item 0 .*flat list"):
            get([[shoal.put(1)]])

    def test_a_timeout_is_checked(self) -> None:
        ref = shoal.put(1)
        with pytest.raises(ValueError, match="timeout"):
            shoal.get(ref, timeout=-1)
        with pytest.raises(TypeError, match="timeout"):
            shoal.get(ref, timeout="soon")  # type: ignore[call-overload]
        assert shoal.get(ref, timeout=0) == 1

    @needs("parallel")
    def test_get_gives_up_and_can_be_called_again(self, gate: Gate) -> None:
        @shoal.remote
        def slow() -> int:
            gate.pass_through()
            return 1

        ref = slow.remote()
        with pytest.raises(GetTimeout):
            shoal.get(ref, timeout=0.05)
        with pytest.raises(TimeoutError):
            shoal.get([shoal.put(0), ref], timeout=0)
        gate.open()
        assert get(ref) == 1

    def test_what_cannot_be_pickled_is_named(self) -> None:
        import threading

        with pytest.raises(NotSerializable, match="'lock'"):
            shoal.put({"lock": threading.Lock()})

    def test_freed_values_are_gone(self) -> None:
        one, two = shoal.put(1), shoal.put(2)
        shoal.free([one])
        with pytest.raises(ObjectFreed):
            get(one)
        assert get(two) == 2


class ArrayPart(EnginePart):
    """Arrays travel without copies, and nobody can change what others see."""

    @pytest.mark.parametrize("kind", ["u1", "i4", "f8", "c16", "?", "M8[s]", "S3", "U2"])
    def test_every_kind_of_element(self, kind: str) -> None:
        numpy = pytest.importorskip("numpy")
        array = numpy.arange(12).reshape(3, 4).astype(kind)
        again = get(shoal.put(array))
        assert again.dtype == array.dtype
        assert (again == array).all()

    @pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1000, 500)])
    def test_every_shape(self, shape: tuple[int, ...]) -> None:
        numpy = pytest.importorskip("numpy")
        again = get(shoal.put(numpy.ones(shape)))
        assert shape == again.shape
        assert (again == 1).all()

    @pytest.mark.parametrize("count", [10, 1_000_000])
    def test_arrays_are_read_only(self, count: int) -> None:
        numpy = pytest.importorskip("numpy")
        array = numpy.arange(count)
        ref = shoal.put(array)
        array[0] = 5
        view = get(ref)
        assert view[0] == 0
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1

    def test_strided_arrays(self) -> None:
        numpy = pytest.importorskip("numpy")
        array = numpy.arange(1000).reshape(10, 100)
        for part in (array[::2, ::3], array.T, numpy.asfortranarray(array), array[:, ::-1]):
            again = get(shoal.put(part))
            assert (again == part).all()
            assert not again.flags.writeable

    def test_arrays_of_objects(self) -> None:
        numpy = pytest.importorskip("numpy")
        array = numpy.array([{"a": 1}, [2]], dtype=object)
        assert list(get(shoal.put(array))) == [{"a": 1}, [2]]

    def test_a_view_outlives_its_reference(self) -> None:
        numpy = pytest.importorskip("numpy")
        ref = shoal.put(numpy.full(1_000_000, 7))
        view = get(ref)
        del ref
        others = [shoal.put(numpy.zeros(1_000_000)) for _ in range(5)]
        assert view.sum() == 7_000_000
        assert len(others) == 5

    def test_an_array_as_argument_and_result(self) -> None:
        numpy = pytest.importorskip("numpy")

        @shoal.remote
        def twice(array: Any) -> Any:
            return array * 2

        assert get(twice.remote(twice.remote(numpy.ones(500_000)))).sum() == 2_000_000

    def test_many_arrays_in_one_value(self) -> None:
        numpy = pytest.importorskip("numpy")
        value = {i: numpy.full(i * 1000, i) for i in range(20)}
        again = get(shoal.put(value))
        assert all((again[i] == value[i]).all() for i in value)


class ReferencePart(EnginePart):
    """Names of values, wherever they are kept."""

    def test_references_are_values_themselves(self) -> None:
        ref = shoal.put(1)
        same = get(shoal.put([ref]))[0]
        assert ref == same
        assert hash(ref) == hash(same)
        assert {ref: "found"}[same] == "found"
        assert ref != shoal.put(1)
        assert ref.hex() in repr(ref)
        assert ref.binary() == ref.id

    def test_a_reference_is_no_sequence(self) -> None:
        with pytest.raises(TypeError, match="not iterable"):
            iter(shoal.put([1, 2]))  # type: ignore[call-overload]

    def test_a_plain_pickle_refuses_references(self) -> None:
        with pytest.raises(TypeError, match="can only be pickled by Shoal"):
            pickle.dumps(shoal.put(1))

    def test_a_value_lives_while_a_container_names_it(self) -> None:
        outer = shoal.put({"deep": [shoal.put("kept")]})
        for i in range(50):
            shoal.put(i)
        assert get(get(outer)["deep"][0]) == "kept"

    def test_an_actor_keeps_a_reference_that_its_giver_dropped(self) -> None:
        @shoal.remote
        class Keeper:
            def keep(self, refs: Any) -> None:
                self.refs = refs

            def show(self) -> Any:
                return get(self.refs)

        keeper = Keeper.remote()
        ref = shoal.put("x" * 300_000)
        get(keeper.keep.remote([ref]))
        del ref
        assert get(keeper.show.remote()) == ["x" * 300_000]

    def test_a_reference_captured_by_a_function(self) -> None:
        ref = shoal.put(41)

        @shoal.remote
        def add_one() -> int:
            return get(ref) + 1

        assert get(add_one.remote()) == 42

    def test_a_reference_handed_on_through_tasks(self) -> None:
        @shoal.remote
        def hand_on(box: Any, times: int) -> Any:
            return box if times == 0 else get(hand_on.remote(box, times - 1))

        assert get(get(hand_on.remote([shoal.put("end")], 4))[0]) == "end"

    def test_a_reference_inside_an_object_of_a_class(self) -> None:
        class Box:
            def __init__(self, ref: Any) -> None:
                self.ref = ref

        @shoal.remote
        def look(box: Any) -> int:
            return get(box.ref) + 1

        assert get(look.remote(Box(shoal.put(1)))) == 2

    def test_a_future(self) -> None:
        @shoal.remote
        def bad() -> None:
            raise KeyError("f")

        assert shoal.put(3).future().result(60) == 3
        assert isinstance(bad.remote().future().exception(60), KeyError)

    @needs("parallel")
    def test_a_future_of_what_is_not_there_yet(self, gate: Gate) -> None:
        @shoal.remote
        def slow() -> int:
            gate.pass_through()
            return 8

        future = slow.remote().future()
        assert not future.done()
        gate.open()
        assert future.result(60) == 8

    def test_await(self) -> None:
        import asyncio

        @shoal.remote
        def value(x: int) -> int:
            if x < 0:
                raise ValueError("negative")
            return x

        async def main() -> Any:
            one = await value.remote(1)
            more = await asyncio.gather(*[value.remote(i) for i in range(5)])
            with pytest.raises(ValueError, match="negative"):
                await value.remote(-1)
            return one, more, await value.remote(9).as_future()

        assert asyncio.run(main()) == (1, [0, 1, 2, 3, 4], 9)


class WaitPart(EnginePart):
    """wait."""

    def test_ready_first_in_the_order_given(self) -> None:
        refs = [shoal.put(i) for i in range(4)]
        assert (refs[:2], refs[2:]) == shoal.wait(refs, num_returns=2)
        assert (refs, []) == shoal.wait(refs, num_returns=4)
        assert (refs[:1], refs[1:]) == shoal.wait(refs)

    def test_an_error_is_ready(self) -> None:
        @shoal.remote
        def bad() -> None:
            raise KeyError

        ref = bad.remote()
        assert ([ref], []) == shoal.wait([ref], timeout=60)

    @pytest.mark.parametrize("count", [0, 3, -1, 1.0, True])
    def test_num_returns_is_checked(self, count: Any) -> None:
        with pytest.raises(ValueError, match="num_returns"):
            shoal.wait([shoal.put(1), shoal.put(2)], num_returns=count)

    def test_references_are_checked(self) -> None:
        ref = shoal.put(1)
        with pytest.raises(ValueError, match="twice"):
            shoal.wait([ref, ref])
        with pytest.raises(ValueError, match="at least one"):
            shoal.wait([])
        with pytest.raises(TypeError, match="list"):
            shoal.wait(ref)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="item 1"):
            shoal.wait([ref, 3])  # type: ignore[arg-type]

    @needs("parallel")
    def test_what_is_late_is_not_ready(self, gate: Gate) -> None:
        @shoal.remote
        def slow() -> int:
            gate.pass_through()
            return 1

        late, soon = slow.remote(), shoal.put(2)
        assert ([soon], [late]) == shoal.wait([late, soon], num_returns=1, timeout=60)
        assert ([soon], [late]) == shoal.wait([late, soon], num_returns=2, timeout=0.05)
        assert ([], [late]) == shoal.wait([late], timeout=0)
        gate.open()
        assert ([late, soon], []) == shoal.wait([late, soon], num_returns=2, timeout=60)
