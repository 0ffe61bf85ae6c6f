"""The inline engine with order="random": races are found, replayed, and what is promised holds in every order."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import shoal
from shoal.errors import ConfigError, ShoalError
from shoal.testing.orders import OrderFailed, explore


class Account:
    def __init__(self) -> None:
        self.balance = 0

    def read(self) -> int:
        return self.balance

    def write(self, balance: int) -> None:
        self.balance = balance

    def add(self, amount: int) -> int:
        self.balance += amount
        return self.balance


@shoal.remote
def deposit_badly(account: Any, amount: int) -> None:
    balance = shoal.get(account.read.remote())
    shoal.get(account.write.remote(balance + amount))


@shoal.remote
def deposit_well(account: Any, amount: int) -> None:
    shoal.get(account.add.remote(amount))


def two_deposits(deposit: Any) -> None:
    account = shoal.remote(Account).remote()
    shoal.get([deposit.remote(account, 10), deposit.remote(account, 20)])
    assert shoal.get(account.read.remote()) == 30


def test_a_lost_update_is_found_and_replayed() -> None:
    with pytest.raises(OrderFailed) as found:
        explore(lambda: two_deposits(deposit_badly), seeds=range(100))
    assert isinstance(found.value.__cause__, AssertionError)
    assert f"seed {found.value.seed} fails" in str(found.value)
    assert "deposit_badly()" in str(found.value)
    for _ in range(3):
        with pytest.raises(OrderFailed) as again:
            explore(lambda: two_deposits(deposit_badly), seeds=[found.value.seed])
        assert again.value.order == found.value.order


def test_the_usual_order_does_not_show_it() -> None:
    with shoal.init(engine="inline"):
        two_deposits(deposit_badly)


def test_a_program_without_the_race_passes_in_many_orders() -> None:
    explored = explore(lambda: two_deposits(deposit_well), seeds=range(60))
    assert explored.seeds == 60
    assert explored.orders > 5


def test_calls_of_one_caller_keep_their_order() -> None:
    def program() -> None:
        log = shoal.remote(Log).remote()

        @shoal.remote
        def write(name: str) -> None:
            for i in range(4):
                log.note.remote((name, i))

        shoal.get([write.remote("a"), write.remote("b")])
        seen = shoal.get(log.all.remote())
        while len(seen) < 8:
            seen = shoal.get(log.all.remote())
        for name in "ab":
            assert [i for who, i in seen if who == name] == [0, 1, 2, 3]
        orders.add(tuple(who for who, _ in seen))

    orders: set[tuple[str, ...]] = set()
    explore(program, seeds=range(40))
    assert len(orders) > 3, "calls of different callers must mix"


class Log:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def note(self, what: Any) -> None:
        self.seen.append(what)

    def all(self) -> list[Any]:
        return self.seen


def test_arguments_come_before_their_task() -> None:
    @shoal.remote
    def add(a: int, b: int) -> int:
        return a + b

    def program() -> None:
        parts = [add.remote(i, i) for i in range(4)]
        assert shoal.get(add.remote(add.remote(parts[0], parts[3]), add.remote(parts[1], parts[2]))) == 12

    explore(program, seeds=range(30))


def test_nested_tasks_interleave_and_nothing_is_shared_between_seeds() -> None:
    @shoal.remote
    def fibonacci(n: int) -> int:
        return n if n < 2 else sum(shoal.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    def program() -> None:
        assert shoal.get(fibonacci.remote(6)) == 8

    assert explore(program, seeds=range(10)).orders > 5
    assert not [thread for thread in threading.enumerate() if thread.name == "shoal-inline-strand"]


def test_a_deadlock_is_found_and_explained() -> None:
    class Node:
        def __init__(self) -> None:
            self.other: Any = None

        def meet(self, other: Any) -> None:
            self.other = other

        def ask(self) -> int:
            return 1 + shoal.get(self.other.answer.remote())  # type: ignore[no-any-return]

        def answer(self) -> int:
            return 1

    def program() -> None:
        one, two = shoal.remote(Node).remote(), shoal.remote(Node).remote()
        shoal.get([one.meet.remote(two), two.meet.remote(one)])
        assert shoal.get([one.ask.remote(), two.ask.remote()]) == [2, 2]

    with pytest.raises(OrderFailed) as found:
        explore(program, seeds=range(50))
    assert isinstance(found.value.__cause__, ShoalError)
    assert "can never be ready" in str(found.value)
    assert "Node.ask" in str(found.value)
    assert f"'seed': {found.value.seed}" in str(found.value.__cause__)


def test_threads_of_one_actor_interleave() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> None:
            before = self.count
            shoal.get(shoal.put(None))  # any call of the engine lets others go first
            self.count = before + 1

        def total(self) -> int:
            return self.count

    def program(threads: int) -> None:
        counter = shoal.remote(Counter).options(max_concurrency=threads).remote()
        shoal.get([counter.add.remote() for _ in range(3)])
        assert shoal.get(counter.total.remote()) == 3

    explore(lambda: program(1), seeds=range(20))
    with pytest.raises(OrderFailed):
        explore(lambda: program(3), seeds=range(50))


def test_streams_and_named_actors_and_waits() -> None:
    @shoal.remote
    def count(n: int) -> Any:
        yield from range(n)

    def program() -> None:
        made = shoal.remote(Account).options(name="account").remote()
        account = shoal.get_actor("account")
        assert account == made
        refs = [account.add.remote(i) for i in range(3)]
        ready, rest = shoal.wait(refs, num_returns=2)
        assert (len(ready), len(rest)) == (2, 1)
        assert [shoal.get(ref) for ref in count.remote(3)] == [0, 1, 2]
        late = deposit_well.remote(account, 1)
        assert shoal.wait([late], timeout=30) == ([late], [])

    explore(program, seeds=range(20))


def test_work_that_nobody_waits_for_ends_with_the_session() -> None:
    @shoal.remote
    def forever(account: Any) -> None:
        while True:
            shoal.get(account.read.remote())

    def program() -> None:
        forever.remote(shoal.remote(Account).remote())
        shoal.put(1)

    explore(program, seeds=range(5))
    assert not [thread for thread in threading.enumerate() if thread.name == "shoal-inline-strand"]


def test_async_actors_work_in_it() -> None:
    class Door:
        async def ask(self, ref: list[Any]) -> int:
            return 1 + await ref[0]  # type: ignore[no-any-return]

    @shoal.remote
    def one() -> int:
        return 1

    def program() -> None:
        door = shoal.remote(Door).remote()
        assert shoal.get([door.ask.remote([one.remote()]) for _ in range(2)]) == [2, 2]

    explore(program, seeds=range(5))


def test_a_thread_of_the_program_is_refused() -> None:
    with shoal.init(engine="inline", engine_options={"order": "random"}):
        errors: list[BaseException] = []

        def use() -> None:
            try:
                shoal.put(1)
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert "order='random'" in str(errors[0])


@pytest.mark.parametrize("wrong", [{"order": "any"}, {"seed": "1"}, {"seed": True}, {"sed": 1}])
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        shoal.init(engine="inline", engine_options=wrong)
    assert not shoal.is_initialized()
