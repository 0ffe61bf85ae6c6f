"""`@batch` and `@multiplexed`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shoal import serve
from shoal.errors import ConfigError


class Batches:
    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = asyncio.Event()

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.05)
    async def double(self, values: list[int]) -> list[Any]:
        self.sizes.append(len(values))
        return [ValueError("three") if value == 3 else 2 * value for value in values]

    @serve.batch(max_batch_size=3, batch_wait_timeout_s=0.01)
    async def wrong(self, values: list[int]) -> list[int]:
        return [1]

    @serve.batch(max_batch_size=2, batch_wait_timeout_s=0.01)
    async def count(self, tos: list[int]) -> AsyncIterator[list[int]]:
        for number in range(3):
            yield [to * number for to in tos]

    @serve.batch(
        max_batch_size=10, batch_wait_timeout_s=0.01, batch_size_fn=lambda texts: sum(map(len, texts))
    )
    async def lengths(self, texts: list[str]) -> list[int]:
        self.sizes.append(len(texts))
        return [len(text) for text in texts]

    @serve.batch(max_batch_size=1, batch_wait_timeout_s=0, max_concurrent_batches=2)
    async def slow(self, values: list[int]) -> list[int]:
        self.sizes.append(values[0])
        await self.go.wait()
        return values


def test_calls_that_come_together_run_as_one() -> None:
    async def run() -> None:
        batches = Batches()
        got = await asyncio.gather(*(batches.double(n) for n in range(6)), return_exceptions=True)
        assert got[:3] == [0, 2, 4]
        assert isinstance(got[3], ValueError)
        assert got[4:] == [8, 10]
        assert batches.sizes == [4, 2]

    asyncio.run(run())


def test_a_batch_without_a_result_for_each_fails_all() -> None:
    async def run() -> None:
        batches = Batches()
        for each in await asyncio.gather(batches.wrong(1), batches.wrong(2), return_exceptions=True):
            assert isinstance(each, TypeError)
            assert "one result for each" in str(each)

    asyncio.run(run())


def test_generators_give_each_caller_its_own_part() -> None:
    async def run() -> None:
        batches = Batches()

        async def collect(to: int) -> list[int]:
            return [each async for each in batches.count(to)]

        assert await asyncio.gather(collect(1), collect(10)) == [[0, 1, 2], [0, 10, 20]]

    asyncio.run(run())


def test_sizes_may_be_counted_otherwise() -> None:
    async def run() -> None:
        batches = Batches()
        assert await asyncio.gather(*(batches.lengths("x" * n) for n in (4, 4, 4, 20))) == [4, 4, 4, 20]
        assert batches.sizes == [2, 1, 1]

    asyncio.run(run())


def test_as_many_batches_run_at_once_as_may_and_one_who_leaves_is_left_out() -> None:
    async def run() -> None:
        batches = Batches()
        calls = [asyncio.ensure_future(batches.slow(n)) for n in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert batches.sizes == [0, 1]
        calls[2].cancel()
        batches.go.set()
        assert await asyncio.gather(calls[0], calls[1], calls[3]) == [0, 1, 3]
        assert batches.sizes == [0, 1, 3]

    asyncio.run(run())


def test_the_size_can_be_changed_while_it_runs() -> None:
    async def run() -> None:
        batches = Batches()
        Batches.double.set_max_batch_size(2)
        try:
            await asyncio.gather(*(batches.double(n) for n in (0, 1, 2, 4)))
        finally:
            Batches.double.set_max_batch_size(4)
        assert batches.sizes == [2, 2]

    asyncio.run(run())


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_batch_size"):
        serve.batch(max_batch_size=0)
    with pytest.raises(ConfigError, match="batch_wait_timeout_s"):
        serve.batch(batch_wait_timeout_s=-1)
    with pytest.raises(TypeError, match="async"):
        serve.batch(lambda values: values)
    with pytest.raises(ConfigError, match="max_num_models"):
        serve.multiplexed(max_num_models_per_replica=0)


class Models:
    def __init__(self) -> None:
        self.events: list[str] = []

    @serve.multiplexed(max_num_models_per_replica=2)
    async def load(self, name: str) -> Any:
        await asyncio.sleep(0.001)
        if name == "bad":
            raise FileNotFoundError(name)
        self.events.append(f"load {name}")
        owner = self

        class Model:
            async def __unload__(self) -> None:
                owner.events.append(f"unload {name}")

        return Model()


def test_the_models_used_last_stay_and_one_loading_serves_all_who_ask() -> None:
    async def run() -> None:
        models = Models()
        same = await asyncio.gather(*(models.load("a") for _ in range(5)))
        assert len(set(map(id, same))) == 1
        await models.load("b")
        await models.load("a")
        await models.load("c")
        assert models.events == ["load a", "load b", "unload b", "load c"]
        with pytest.raises(FileNotFoundError):
            await models.load("bad")
        with pytest.raises(ValueError, match="no model is named"):
            await models.load()

    asyncio.run(run())


@pytest.mark.processes
def test_requests_for_a_model_go_where_it_is(client: httpx.Client) -> None:
    @serve.deployment(num_replicas=2, max_ongoing_requests=10)
    class Server:
        def __init__(self) -> None:
            self.loads = 0

        @serve.multiplexed(max_num_models_per_replica=2)
        async def load(self, name: str) -> str:
            self.loads += 1
            return name

        async def __call__(self, request: Any) -> Any:
            model = await self.load()
            return {"model": model, "loads": self.loads, "replica": serve.get_replica_context().replica_tag}

    serve.run(Server.bind())
    answers = [client.get("/", headers={"serve_multiplexed_model_id": f"m{n % 2}"}).json() for n in range(20)]
    for name in ("m0", "m1"):
        assert len({answer["replica"] for answer in answers if answer["model"] == name}) == 1
    assert max(answer["loads"] for answer in answers) <= 2
