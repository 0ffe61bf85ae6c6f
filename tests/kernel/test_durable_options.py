"""Options of durable actors: what they mean by default, and what is refused where the class is decorated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import shoal
from shoal.errors import ConfigError


class Plain:
    def use(self) -> None: ...


class Async:
    async def use(self) -> None: ...


class Streams:
    def items(self) -> Iterator[int]:
        yield 1


class OnlyCheckpoint:
    def checkpoint(self) -> int:
        return 1


class OnlyRestore:
    def restore(self, value: int) -> None: ...


class Pair(OnlyCheckpoint, OnlyRestore):
    pass


class NeverAgain:
    @shoal.method(max_task_retries=0)
    def use(self) -> None: ...


def template(cls: type, **options: Any) -> Any:
    return shoal.remote(**options)(cls).template


def test_defaults() -> None:
    assert template(Plain, num_cpus=0).durability is None
    durable = template(Plain, durable=True)
    assert durable.durability.interval_s == 1.0
    assert not durable.durability.exactly_once
    assert not durable.durability.by_methods
    assert (durable.max_restarts, durable.max_task_retries) == (-1, 0)
    once = template(Plain, durable=True, exactly_once=True)
    assert once.durability.interval_s == 0
    assert (once.max_restarts, once.max_task_retries) == (-1, -1)
    given = template(Plain, durable=True, exactly_once=True, max_restarts=3, max_task_retries=5)
    assert (given.max_restarts, given.max_task_retries) == (3, 5)
    assert template(Plain, durable=True, checkpoint_interval_s=0.25).durability.interval_s == 0.25
    assert template(Pair, durable=True).durability.by_methods


def test_without_durable_the_methods_are_methods_like_others() -> None:
    assert template(OnlyCheckpoint, num_cpus=0).durability is None
    assert template(Pair, durable=False).durability is None


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (Plain, {"exactly_once": True}, "add durable=True"),
        (Plain, {"checkpoint_interval_s": 1}, "add durable=True"),
        (Plain, {"durable": 1}, "must be True or False, not 1"),
        (Plain, {"durable": True, "checkpoint_interval_s": -1}, "a number of seconds ≥ 0"),
        (Plain, {"durable": True, "checkpoint_interval_s": float("nan")}, "a number of seconds ≥ 0"),
        (Plain, {"durable": True, "checkpoint_interval_s": True}, "a number of seconds ≥ 0"),
        (Plain, {"durable": True, "max_restarts": 0}, "leave max_restarts out"),
        (Plain, {"durable": True, "max_concurrency": 2}, "max_concurrency=2, but a state is only whole"),
        (Plain, {"durable": True, "concurrency_groups": {"io": 1}}, "concurrency_groups"),
        (Async, {"durable": True}, "coroutine methods"),
        (OnlyCheckpoint, {"durable": True}, r"no restore\(\): write both"),
        (OnlyRestore, {"durable": True}, r"no checkpoint\(\): write both"),
        (
            Plain,
            {"durable": True, "exactly_once": True, "checkpoint_interval_s": 1},
            "checkpoint_interval_s=1 cannot",
        ),
        (Plain, {"durable": True, "exactly_once": True, "max_task_retries": 0}, "max_task_retries=0 forbids"),
        (NeverAgain, {"durable": True, "exactly_once": True}, r"NeverAgain\.use: .*max_task_retries=0"),
        (Streams, {"durable": True, "exactly_once": True}, r"Streams\.items: .*cannot stream"),
    ],
)
def test_what_is_refused(cls: type, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shoal.remote(**options)(cls)
    if "durable" in options and options["durable"] is True:
        with pytest.raises(ConfigError, match=message):
            shoal.remote(cls).options(**options)


def test_an_interval_of_nothing_goes_with_exactly_once() -> None:
    assert template(Plain, durable=True, exactly_once=True, checkpoint_interval_s=0).durability.exactly_once
    assert template(Streams, durable=True).durability is not None


def test_options_of_a_call_that_break_exactly_once_are_refused() -> None:
    with shoal.init(engine="inline"):
        actor = shoal.remote(durable=True, exactly_once=True)(Plain).remote()
        with pytest.raises(ConfigError, match="cannot stream"):
            actor.use.options(num_returns="streaming")
        with pytest.raises(ConfigError, match="max_task_retries=0"):
            actor.use.options(max_task_retries=0)
        assert shoal.get(actor.use.options(num_returns=1).remote()) is None
