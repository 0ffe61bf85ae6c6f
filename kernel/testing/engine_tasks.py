"""The engine's contract: tasks."""

# mypy does not see what a decorator makes of a class (pyright does), and get() of a handle's call is Any.
# mypy: disable-error-code="attr-defined, no-any-return, unused-ignore"

from __future__ import annotations

import collections
import enum
from typing import Any

import pytest

import shoal
from shoal.testing.engine_base import EnginePart, get, needs
from shoal.testing.engine_gates import Gate, Marks


class TaskPart(EnginePart):
    """Functions that run as tasks."""

    def test_a_task_returns_its_value(self) -> None:
        @shoal.remote
        def square(x: int) -> int:
            return x * x

        assert get(square.remote(7)) == 49

    def test_results_come_in_the_order_of_the_references(self) -> None:
        @shoal.remote
        def same(x: int) -> int:
            return x

        assert list(range(300)) == get([same.remote(i) for i in range(300)])

    def test_every_kind_of_parameter(self) -> None:
        @shoal.remote
        def show(a: Any, b: Any = 2, *rest: Any, c: Any, d: Any = 4, **more: Any) -> Any:
            return a, b, rest, c, d, more

        assert get(show.remote(1, c=3)) == (1, 2, (), 3, 4, {})
        assert get(show.remote(1, 5, 6, 7, c=3, d=8, e=9)) == (1, 5, (6, 7), 3, 8, {"e": 9})

    def test_wrong_arguments_raise_at_the_call(self) -> None:
        @shoal.remote
        def two(a: int, b: int = 0, *, c: int = 0) -> None: ...

        for args, kwargs in [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"a": 1})]:
            with pytest.raises(TypeError, match="two"):
                two.remote(*args, **kwargs)

    def test_a_missing_keyword_raises_at_the_call(self) -> None:
        @shoal.remote
        def keyword(*, needed: int) -> int:
            return needed

        with pytest.raises(TypeError, match="needed"):
            keyword.remote()  # type: ignore[call-overload]
        assert get(keyword.remote(needed=3)) == 3

    def test_none_is_a_value(self) -> None:
        @shoal.remote
        def nothing() -> None:
            return None

        assert get(nothing.remote()) is None

    def test_lambdas_and_closures(self) -> None:
        offset = 10
        add = shoal.remote(lambda x: x + offset)
        assert get(add.remote(3)) == 13

    def test_two_functions_of_one_name_are_two(self) -> None:
        def make(value: int) -> Any:
            @shoal.remote
            def f() -> int:
                return value

            return f

        one, two = make(1), make(2)
        assert get([one.remote(), two.remote(), one.remote()]) == [1, 2, 1]

    def test_a_coroutine_function_runs_to_its_end(self) -> None:
        @shoal.remote
        async def later(x: int) -> int:
            import asyncio

            await asyncio.sleep(0)
            return x + 1

        assert get(later.remote(4)) == 5

    def test_a_builtin_can_be_a_task(self) -> None:
        assert get(shoal.remote(len).remote([1, 2, 3])) == 3

    def test_arguments_are_copies(self) -> None:
        @shoal.remote
        def change(items: list[int]) -> list[int]:
            items.append(4)
            return items

        mine = [1, 2, 3]
        assert get(change.remote(mine)) == [1, 2, 3, 4]
        assert mine == [1, 2, 3]

    def test_arguments_are_taken_at_the_call(self, gate: Gate) -> None:
        @shoal.remote
        def after(items: list[int], before: Any) -> list[int]:
            return items

        @shoal.remote
        def first() -> None: ...

        mine = [1]
        ref = after.remote(mine, first.remote())
        mine.append(2)
        assert get(ref) == [1]

    def test_each_get_is_a_copy(self) -> None:
        @shoal.remote
        def make() -> list[int]:
            return [1]

        ref = make.remote()
        get(ref).append(2)
        assert get(ref) == [1]

    def test_instances_of_local_classes_travel(self) -> None:
        class Colour(enum.Enum):
            RED = 1

        class Point:
            def __init__(self, x: int) -> None:
                self.x = x

        pair = collections.namedtuple("pair", "a b")

        @shoal.remote
        def echo(*values: Any) -> Any:
            return values

        colour, point, both = get(echo.remote(Colour.RED, Point(3), pair(1, 2)))
        assert colour is Colour.RED
        assert (3, Point) == (point.x, type(point))
        assert (both.a, both.b) == (1, 2)

    @pytest.mark.parametrize("size", [0, 1, 100_000, 200_000, 5_000_000])
    def test_bytes_of_every_size_there_and_back(self, size: int) -> None:
        @shoal.remote
        def echo(data: bytes) -> bytes:
            return data

        data = bytes(range(256)) * (size // 256 + 1)
        assert data[:size] == get(echo.remote(data[:size]))


class NestedTaskPart(EnginePart):
    """Tasks that make tasks."""

    def test_a_task_gets_the_result_of_its_own_task(self) -> None:
        @shoal.remote
        def inner(x: int) -> int:
            return x + 1

        @shoal.remote
        def outer(x: int) -> int:
            return 10 * get(inner.remote(x))

        assert get(outer.remote(3)) == 40

    def test_recursion_deeper_than_there_are_cpus(self) -> None:
        @shoal.remote
        def down(n: int) -> int:
            return 0 if n == 0 else 1 + get(down.remote(n - 1))

        assert get(down.remote(12)) == 12

    def test_a_tree_of_tasks(self) -> None:
        @shoal.remote
        def fibonacci(n: int) -> int:
            return n if n < 2 else sum(get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

        assert get(fibonacci.remote(7)) == 13

    def test_a_task_may_return_a_reference(self) -> None:
        @shoal.remote
        def inner() -> int:
            return 5

        @shoal.remote
        def outer() -> Any:
            return inner.remote()

        ref = get(outer.remote())
        assert isinstance(ref, shoal.ObjectRef)
        assert get(ref) == 5

    def test_a_task_may_return_many_references(self) -> None:
        @shoal.remote
        def inner(x: int) -> int:
            return x

        @shoal.remote
        def outer() -> Any:
            return {"refs": [inner.remote(i) for i in range(10)], "put": shoal.put("kept")}

        found = get(outer.remote())
        assert list(range(10)) == get(found["refs"])
        assert get(found["put"]) == "kept"

    def test_fire_and_forget_still_runs(self, marks: Marks) -> None:
        @shoal.remote
        def mark() -> None:
            marks.add()

        for _ in range(5):
            mark.remote()
        assert len(marks.wait_for(5)) == 5

    def test_a_handful_of_functions_in_one_program(self) -> None:
        tasks = [shoal.remote(lambda x, k=k: x * k) for k in range(20)]
        assert [3 * k for k in range(20)] == get([task.remote(3) for task in tasks])

    @needs("parallel")
    def test_two_tasks_run_at_once(self, gate: Gate) -> None:
        @shoal.remote
        def wait() -> int:
            gate.pass_through()
            return 1

        @shoal.remote
        def open_it() -> int:
            gate.open()
            return 2

        assert get([wait.remote(), open_it.remote()]) == [1, 2]

    @needs("parallel")
    def test_a_task_may_wait_for_one_that_was_submitted_later(self, gate: Gate) -> None:
        @shoal.remote(num_cpus=4)
        def all_cpus(then: Any) -> int:
            return get(later.remote()) + 1

        @shoal.remote(num_cpus=4)
        def later() -> int:
            return 1

        assert get([all_cpus.remote(None) for _ in range(3)]) == [2, 2, 2]

    @needs("processes")
    def test_a_task_runs_in_another_process(self) -> None:
        import os

        @shoal.remote
        def process() -> int:
            return os.getpid()

        assert os.getpid() != get(process.remote())


class DependencyPart(EnginePart):
    """References as arguments."""

    def test_a_reference_arrives_as_its_value(self) -> None:
        @shoal.remote
        def add(a: int, b: int = 0) -> int:
            return a + b

        assert get(add.remote(add.remote(1, 2), b=add.remote(3, shoal.put(4)))) == 10

    def test_a_reference_inside_a_container_stays_a_reference(self) -> None:
        @shoal.remote
        def look(box: Any) -> tuple[bool, int]:
            return isinstance(box["refs"][0], shoal.ObjectRef), get(box["refs"][0])

        assert get(look.remote({"refs": [shoal.put(7)]})) == (True, 7)

    def test_a_long_chain(self) -> None:
        @shoal.remote
        def next_one(x: int) -> int:
            return x + 1

        ref: Any = 0
        for _ in range(60):
            ref = next_one.remote(ref)
        assert get(ref) == 60

    def test_one_reference_many_times(self) -> None:
        @shoal.remote
        def total(*numbers: int) -> int:
            return sum(numbers)

        one = shoal.put(1)
        assert get(total.remote(*[one] * 20)) == 20

    def test_a_diamond(self) -> None:
        @shoal.remote
        def double(x: int) -> int:
            return 2 * x

        @shoal.remote
        def add(a: int, b: int) -> int:
            return a + b

        top = double.remote(1)
        assert get(add.remote(double.remote(top), double.remote(top))) == 8

    def test_what_an_argument_raised_is_what_the_task_raises(self, marks: Marks) -> None:
        @shoal.remote
        def bad() -> int:
            raise KeyError("from the argument")

        @shoal.remote
        def user(x: int) -> int:
            marks.add()
            return x

        with pytest.raises(KeyError, match="from the argument"):
            get(user.remote(user.remote(bad.remote())))
        assert marks.all() == [], "a task whose argument failed must not run"

    @needs("parallel")
    def test_a_task_waits_for_its_arguments(self, gate: Gate) -> None:
        @shoal.remote
        def slow() -> str:
            gate.pass_through()
            return "late"

        @shoal.remote
        def after(x: str) -> str:
            return x + "r"

        ref = after.remote(slow.remote())
        assert ([], [ref]) == shoal.wait([ref], timeout=0.05)
        gate.open()
        assert get(ref) == "later"


class ReturnPart(EnginePart):
    """num_returns."""

    def test_several_values(self) -> None:
        @shoal.remote(num_returns=3)
        def three() -> Any:
            return 1, "two", [3]

        refs = three.remote()
        assert isinstance(refs, list)
        assert get(refs) == [1, "two", [3]]

    def test_a_list_does_as_well_as_a_tuple(self) -> None:
        @shoal.remote
        def two() -> Any:
            return [1, 2]

        a, b = two.options(num_returns=2).remote()
        assert (get(a), get(b)) == (1, 2)
        assert get(two.remote()) == [1, 2]

    def test_no_value(self, marks: Marks) -> None:
        @shoal.remote(num_returns=0)
        def none() -> None:
            marks.add()

        assert none.remote() is None
        assert len(marks.wait_for(1)) == 1

    @pytest.mark.parametrize("returned", [(1,), (1, 2, 3), 5])
    def test_the_wrong_number_is_an_error_of_every_result(self, returned: Any) -> None:
        @shoal.remote(num_returns=2, max_retries=0)
        def wrong() -> Any:
            return returned

        for ref in wrong.remote():
            with pytest.raises(ValueError, match="num_returns=2"):
                get(ref)

    def test_an_error_is_the_error_of_every_result(self) -> None:
        @shoal.remote(num_returns=2)
        def bad() -> Any:
            raise KeyError("both")

        for ref in bad.remote():
            with pytest.raises(KeyError, match="both"):
                get(ref)

    def test_as_many_as_there_turn_out_to_be(self) -> None:
        @shoal.remote(num_returns="dynamic")
        def some(n: int) -> Any:
            for i in range(n):
                yield i * i

        refs = get(some.remote(4))
        assert isinstance(refs, shoal.DynamicObjectRefGenerator)
        assert len(refs) == 4
        assert get(list(refs)) == [0, 1, 4, 9]

    def test_a_generator_fills_a_fixed_number(self) -> None:
        @shoal.remote(num_returns=3)
        def some() -> Any:
            yield from "abc"

        assert get(some.remote()) == ["a", "b", "c"]
