"""What generators that run elsewhere take besides `next`: they can be told to end, and no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import shoal

SECONDS = 30.0

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", autouse=True)
def _session() -> Iterator[None]:
    with shoal.init(engine="native", num_cpus=2):
        yield


@shoal.remote
def count(folder: Path) -> Iterator[int]:
    try:
        for number in range(1_000_000):
            yield number
            time.sleep(0.001)
    finally:
        (folder / "ended").touch()


def until_ended(folder: Path) -> None:
    end = time.monotonic() + SECONDS
    while not (folder / "ended").exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_close_ends_it(tmp_path: Path) -> None:
    stream = count.remote(tmp_path)
    first = next(stream)
    assert shoal.get(stream.send(None)) == 1
    with pytest.raises(TypeError, match="takes no values"):
        stream.send(5)  # type: ignore[arg-type]
    stream.close()
    until_ended(tmp_path)
    assert shoal.get(first) == 0


def test_throw_ends_it_and_raises(tmp_path: Path) -> None:
    stream = count.remote(tmp_path)
    next(stream)
    with pytest.raises(KeyError, match="enough"):
        stream.throw(KeyError("enough"))
    until_ended(tmp_path)


def test_the_same_in_async_code(tmp_path: Path) -> None:
    async def use() -> int:
        stream = count.remote(tmp_path)
        first = await (await stream.asend(None))
        with pytest.raises(TypeError, match="takes no values"):
            await stream.asend(1)  # type: ignore[arg-type]
        await stream.aclose()
        with pytest.raises(ValueError, match="enough"):
            await stream.athrow(ValueError("enough"))
        return first

    assert asyncio.run(use()) == 0
    until_ended(tmp_path)
