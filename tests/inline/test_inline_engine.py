"""What the inline engine does beyond the contract: it is deterministic, and it never hangs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import shoal
from shoal.errors import (
    ActorDied,
    ActorUnschedulable,
    ConfigError,
    GetTimeout,
    SystemFailure,
    TaskUnschedulable,
)


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    with shoal.init(engine="inline", num_cpus=2):
        yield


def test_tasks_run_at_submit_in_the_calling_thread() -> None:
    seen: list[Any] = []

    @shoal.remote
    def note(threads: Any) -> None:
        threads.append(threading.get_ident())
        return threads

    assert [threading.get_ident()] == shoal.get(note.remote(seen))
    assert seen == []


def test_the_order_is_always_the_same() -> None:
    @shoal.remote
    class Log:
        def __init__(self) -> None:
            self.lines: list[str] = []

        def add(self, line: str) -> None:
            self.lines.append(line)

        def all(self) -> list[str]:
            return self.lines

    log: Any = Log.remote()  # type: ignore[attr-defined]

    @shoal.remote
    def work(name: str, children: int) -> None:
        log.add.remote(f"{name} begins")
        for i in range(children):
            work.remote(f"{name}.{i}", 0)
        log.add.remote(f"{name} ends")

    work.remote("a", 2)
    work.remote("b", 0)
    assert shoal.get(log.all.remote()) == [
        "a begins",
        "a.0 begins",
        "a.0 ends",
        "a.1 begins",
        "a.1 ends",
        "a ends",
        "b begins",
        "b ends",
    ]


def test_a_call_to_itself_waits_for_the_call_that_makes_it() -> None:
    @shoal.remote
    class Self:
        def __init__(self) -> None:
            self.log: list[str] = []

        def outer(self) -> None:
            me = shoal.get_runtime_context().current_actor
            me.inner.remote()
            self.log.append("outer")

        def inner(self) -> None:
            self.log.append("inner")

        def all(self) -> list[str]:
            return self.log

    actor: Any = Self.remote()  # type: ignore[attr-defined]
    actor.outer.remote()
    assert shoal.get(actor.all.remote()) == ["outer", "inner"]


def test_an_actor_that_waits_for_itself_is_told() -> None:
    @shoal.remote
    class Self:
        def outer(self) -> Any:
            return shoal.get(shoal.get_runtime_context().current_actor.inner.remote())

        def inner(self) -> None: ...

    with pytest.raises(SystemFailure, match=r"never be ready(.|\n)*Self.outer"):
        shoal.get(Self.remote().outer.remote())  # type: ignore[attr-defined]


def test_what_no_node_can_hold_raises_instead_of_waiting() -> None:
    @shoal.remote(num_cpus=3)
    def big() -> None: ...

    ref = big.remote()
    with pytest.raises(TaskUnschedulable, match=r"never be ready(.|\n)*CPU"):
        shoal.get(ref)
    with pytest.raises(TaskUnschedulable):
        shoal.wait([ref])
    with pytest.raises(GetTimeout):
        shoal.get(ref, timeout=0)
    assert ([], [ref]) == shoal.wait([ref], timeout=0)

    @shoal.remote(num_cpus=3)
    class Big:
        def work(self) -> None: ...

    with pytest.raises(ActorUnschedulable, match="CPU"):
        shoal.get(Big.remote().work.remote())  # type: ignore[attr-defined]


def test_a_chain_of_reasons() -> None:
    @shoal.remote(num_cpus=3)
    def big() -> int:
        return 1

    @shoal.remote
    def after(x: int) -> int:
        return x

    ref = after.remote(after.remote(big.remote()))
    text = str(shoal.explain(ref))
    assert (
        text.index("after() waits for its argument")
        < text.index("big() waits for resources")
        < text.index("CPU")
    )


def test_a_bad_environment_is_refused_and_variables_are_set() -> None:
    import os

    @shoal.remote
    def read() -> str | None:
        return os.environ.get("INLINE_VARIABLE")

    assert shoal.get(read.options(runtime_env={"env_vars": {"INLINE_VARIABLE": "here"}}).remote()) == "here"
    assert shoal.get(read.remote()) is None
    with pytest.raises(ConfigError, match="'pip'"):
        read.options(runtime_env={"pip": ["x"]}).remote()


def test_an_endless_generator_runs_no_further_than_asked() -> None:
    @shoal.remote
    def numbers() -> Any:
        i = 0
        while True:
            yield i
            i += 1

    stream = numbers.remote()
    assert [shoal.get(next(stream)) for _ in range(3)] == [0, 1, 2]


def test_tasks_with_a_loop_of_their_own_inside_a_running_loop() -> None:
    @shoal.remote
    def inner() -> int:
        async def two() -> int:
            return 2

        return asyncio.run(two())

    async def main() -> int:
        return await inner.remote()

    assert asyncio.run(main()) == 2


def test_an_async_actor_may_use_sync_tasks_that_use_async_actors() -> None:
    @shoal.remote
    class Leaf:
        async def value(self) -> int:
            return 3

    leaf: Any = Leaf.remote()  # type: ignore[attr-defined]

    @shoal.remote
    def ask() -> int:
        return shoal.get(leaf.value.remote(), timeout=30) + 1

    @shoal.remote
    class Root:
        async def value(self) -> int:
            return await ask.remote() + 1

    assert shoal.get(Root.remote().value.remote(), timeout=30) == 5  # type: ignore[attr-defined]


def test_two_threads_that_use_one_actor_take_turns() -> None:
    @shoal.remote
    class Counter:
        def __init__(self) -> None:
            self.count = self.inside = 0

        def add(self) -> int:
            self.inside += 1
            assert self.inside == 1
            self.count += 1
            self.inside -= 1
            return self.count

    counter: Any = Counter.remote()  # type: ignore[attr-defined]
    failures: list[BaseException] = []

    def use() -> None:
        try:
            for _ in range(100):
                shoal.get(counter.add.remote(), timeout=30)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert shoal.get(counter.add.remote()) == 401


def test_ctrl_c_in_a_task_reaches_the_program() -> None:
    @shoal.remote
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.remote()


def test_an_actor_that_kills_itself() -> None:
    @shoal.remote
    class Mortal:
        def end(self) -> int:
            shoal.kill(shoal.get_runtime_context().current_actor)
            return 1

    mortal: Any = Mortal.remote()  # type: ignore[attr-defined]
    with pytest.raises(ActorDied):
        shoal.get(mortal.end.remote())


def test_key_values() -> None:
    from shoal.interfaces.current import current

    engine = current.engine
    assert engine is not None
    assert engine.kv_put(b"a", b"1", False, "n")
    assert not engine.kv_put(b"a", b"2", False, "n")
    assert engine.kv_get(b"a", "n") == b"1"
    assert not engine.kv_put(b"a", b"3", True, "n")
    assert engine.kv_get(b"a", "n") == b"3"
    assert engine.kv_get(b"a", "other") is None
    engine.kv_put(b"ab", b"", True, "n")
    engine.kv_put(b"b", b"", True, "n")
    assert engine.kv_keys(b"a", "n") == [b"a", b"ab"]
    assert engine.kv_delete(b"a", "n")
    assert not engine.kv_delete(b"a", "n")
