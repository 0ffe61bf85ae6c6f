"""Results whose tensors stay in the actor that made them."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.errors import ConfigError, ObjectFreed, ObjectLost, TaskError
from shoal.tensors import kept_tensors, wait_tensor_freed

SECONDS = 30.0
LARGE = 100_000  # elements: more than travels inside messages


def has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


@pytest.fixture(
    scope="module", params=["inline", pytest.param("native", marks=pytest.mark.processes)], ids=str
)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with shoal.init(engine=request.param, num_cpus=4, num_gpus=0):
        yield request.param


class PlainHolder:
    def __init__(self) -> None:
        self.last: Any = None

    @shoal.method(tensor_transport="shm")
    def make(self, count: int, number: Any = 1.0) -> Any:
        self.last = np.full(count, number)
        return {"array": self.last, "name": "made", "again": [self.last]}

    @shoal.method(tensor_transport="shm", num_returns=2)
    def pair(self) -> Any:
        self.last = np.ones(3)
        return self.last, "no tensor"

    @shoal.method(tensor_transport="shm", num_returns=2)
    def pieces(self) -> Any:
        yield np.ones(1)
        self.last = np.ones(2)
        yield self.last

    @shoal.method(tensor_transport="auto")
    def fail(self) -> Any:
        raise KeyError("made")

    def plain(self, count: int) -> Any:
        return np.ones(count)

    def torch_ones(self, count: int) -> Any:
        import torch

        self.last = torch.ones(count, requires_grad=True) * 2
        return self.last

    def is_last(self, value: Any) -> bool:
        array = value["array"] if isinstance(value, dict) else value
        return array is self.last

    def total(self, value: Any) -> float:
        array = value["array"] if isinstance(value, dict) else value
        return float(array.sum().item())

    def kept(self) -> int:
        return len(kept_tensors())

    def put(self) -> Any:
        return [shoal.put({"array": np.ones(LARGE)}, _tensor_transport="shm")]

    def cross(self, other: Any, refs: list[Any]) -> float:
        """Wait for another actor that needs this one's tensors."""
        return float(shoal.get(other.total.remote(refs[0]), timeout=SECONDS))

    def freed(self, seconds: float) -> str:
        try:
            wait_tensor_freed(self.last, timeout=seconds)
        except TimeoutError as error:
            return str(error)
        return "freed"


class AsyncHolder(PlainHolder):
    @shoal.method(tensor_transport="shm")
    async def make_later(self, count: int) -> Any:
        await asyncio.sleep(0)
        return np.full(count, 3.0)

    async def total_of(self, refs: list[Any]) -> float:
        return float((await refs[0])["array"].sum())


Holder = shoal.remote(num_cpus=0)(PlainHolder)
Later = shoal.remote(num_cpus=0)(AsyncHolder)


@shoal.remote(num_cpus=0)
class Borrower:
    """Calls another actor, and owns what that gives back."""

    def hold(self, makers: list[Any]) -> list[Any]:
        self.ref = makers[0].make.remote(LARGE)
        assert shoal.get(self.ref, timeout=SECONDS)["array"].sum() == LARGE
        return [self.ref]


@shoal.remote
def total_of(value: Any) -> float:
    return float(value["array"].sum())


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("count", [4, LARGE])
def test_others_get_copies_and_the_maker_its_own(engine: str, count: int) -> None:
    maker, other = Holder.remote(), Holder.remote()
    ref = maker.make.remote(count, 2.0)
    assert ref.tensor_transport() == "shm"
    assert shoal.get(maker.is_last.remote(ref))
    assert shoal.get(other.total.remote(ref), timeout=SECONDS) == 2.0 * count
    assert shoal.get(total_of.remote(ref), timeout=SECONDS) == 2.0 * count
    value = shoal.get(ref, timeout=SECONDS)
    assert value["name"] == "made"
    assert value["again"][0] is value["array"]
    np.testing.assert_array_equal(value["array"], np.full(count, 2.0))


def test_tensors_go_with_their_last_reference(engine: str) -> None:
    maker, other = Holder.remote(), Holder.remote()
    ref = maker.make.remote(LARGE)
    shoal.wait([ref])
    inside = shoal.put({"deep": [ref]})
    here = shoal.get(maker.kept.remote())
    assert here >= 1
    assert "still refers" in shoal.get(maker.freed.remote(0.0))
    del ref
    gc.collect()
    (again,) = shoal.get(inside)["deep"]
    assert shoal.get(other.total.remote(again), timeout=SECONDS) == LARGE
    del inside, again
    gc.collect()
    until(lambda: shoal.get(maker.kept.remote()) == here - 1)
    assert shoal.get(maker.freed.remote(SECONDS)) == "freed"


def test_an_actor_lives_as_long_as_what_it_keeps(engine: str) -> None:
    ref = Holder.remote().make.remote(8, 3.0)
    gc.collect()
    assert shoal.get(total_of.remote(ref), timeout=SECONDS) == 24.0
    assert shoal.get(ref)["array"].sum() == 24.0


def test_a_dead_maker_is_named(engine: str) -> None:
    maker, other = Holder.remote(), Holder.remote()
    ref = maker.make.remote(LARGE)
    shoal.wait([ref])
    shoal.kill(maker)
    with pytest.raises(ObjectLost, match=r"kept by an actor of class PlainHolder.*gone") as caught:
        shoal.get(ref, timeout=SECONDS)
    assert "kill()" in str(caught.value.certificate)
    with pytest.raises(ObjectLost, match="kept by an actor"):
        shoal.get(other.total.remote(ref), timeout=SECONDS)


@pytest.mark.parametrize("engine", ["native"], indirect=True)
@pytest.mark.processes
def test_a_maker_that_was_started_again_has_lost_them(engine: str) -> None:
    maker = Holder.options(max_restarts=1).remote()
    ref = maker.make.remote(LARGE)
    shoal.wait([ref])
    shoal.kill(maker, no_restart=False)
    until(lambda: _answers(maker))
    with pytest.raises(ObjectLost, match="restarted since"):
        shoal.get(ref, timeout=SECONDS)


def _answers(actor: Any) -> bool:
    try:
        return bool(shoal.get(actor.__shoal_ready__.remote(), timeout=SECONDS))
    except shoal.errors.ActorError:
        return False


def test_free_lets_go_of_them(engine: str) -> None:
    maker = Holder.remote()
    ref = maker.make.remote(LARGE)
    shoal.wait([ref])
    here = shoal.get(maker.kept.remote())
    shoal.free(ref)
    until(lambda: shoal.get(maker.kept.remote()) == here - 1)
    with pytest.raises(ObjectFreed):
        shoal.get(ref, timeout=SECONDS)


@pytest.mark.parametrize("engine", ["native"], indirect=True)
@pytest.mark.processes
def test_a_maker_that_is_busy_hands_them_out(engine: str) -> None:
    maker, other = Holder.remote(), Holder.remote()
    ref = maker.make.remote(LARGE)
    assert shoal.get(maker.cross.remote(other, [ref]), timeout=SECONDS) == LARGE


def test_results_of_several_kinds(engine: str) -> None:
    maker = Holder.remote()
    array, text = maker.pair.remote()
    assert shoal.get(text) == "no tensor"
    assert shoal.get(maker.is_last.remote(array))
    assert array.tensor_transport() == text.tensor_transport() == "shm"
    one, two = maker.pieces.remote()
    assert shoal.get(maker.is_last.remote(two))
    assert shoal.get([one, two])[0].sum() == 1.0
    with pytest.raises(ValueError, match="num_returns=2"):
        shoal.get(maker.plain.options(tensor_transport="shm", num_returns=2).remote(3))
    (put,) = shoal.get(maker.put.remote())
    assert shoal.get(total_of.remote(put), timeout=SECONDS) == LARGE
    with pytest.raises(KeyError, match="made"):
        shoal.get(maker.fail.remote())
    arguments = shoal.put(5.0)
    assert shoal.get(maker.make.remote(count=2, number=arguments))["array"].sum() == 10.0


def test_async_actors_and_awaiting(engine: str) -> None:
    maker, plain = Later.remote(), Holder.remote()
    ref = maker.make_later.remote(LARGE)
    assert shoal.get(plain.total.remote(ref), timeout=SECONDS) == 3.0 * LARGE
    made = plain.make.remote(LARGE)
    assert shoal.get(maker.total_of.remote([made]), timeout=SECONDS) == LARGE

    async def waiting() -> float:
        return float((await made)["array"].sum())

    assert asyncio.run(waiting()) == LARGE


def test_options_choose_and_refuse(engine: str) -> None:
    maker = Holder.remote()
    before = shoal.get(maker.kept.remote())
    kept = maker.plain.options(tensor_transport="GLOO").remote(7)
    assert kept.tensor_transport() == "shm"
    shoal.wait([kept])
    assert shoal.get(maker.kept.remote()) == before + 1
    plain = maker.make.options(tensor_transport="object_store").remote(7)
    assert plain.tensor_transport() is None
    assert shoal.get(plain)["array"].sum() == 7
    with pytest.raises(
        ConfigError, match=r"'object_store', 'auto'.*'shm' \(also 'gloo', 'cpu'\), not 'gluu'"
    ):
        maker.plain.options(tensor_transport="gluu")
    with pytest.raises(ConfigError, match="a stream are not kept"):
        maker.plain.options(tensor_transport="shm", num_returns="streaming")
    with pytest.raises(ConfigError, match="this is no actor"):
        shoal.put(np.ones(3), _tensor_transport="shm")
    with pytest.raises(ConfigError, match="enable_tensor_transport=False"):
        Holder.options(enable_tensor_transport=False)
    with pytest.raises(ConfigError, match="leave tensor_transport out"):
        Holder.options(durable=True, exactly_once=True)


@pytest.mark.skipif(has_cuda(), reason="there is a CUDA device")
def test_a_device_that_is_not_there(engine: str) -> None:
    with pytest.raises(TaskError, match="sees none") as caught:
        shoal.get(Holder.remote().plain.options(tensor_transport="nccl").remote(3))
    assert isinstance(caught.value, ConfigError)


def test_torch_tensors(engine: str) -> None:
    pytest.importorskip("torch")
    maker, other = Holder.remote(), Holder.remote()
    ref = maker.torch_ones.options(tensor_transport="gloo").remote(LARGE)
    assert shoal.get(maker.is_last.remote(ref))
    assert shoal.get(other.total.remote(ref), timeout=SECONDS) == 2 * LARGE
    tensor = shoal.get(ref)
    tensor += 1  # a copy of our own
    assert shoal.get(maker.total.remote(ref)) == 2 * LARGE
    assert not tensor.requires_grad


def test_many_threads_ask_at_once(engine: str) -> None:
    maker = Holder.remote()
    refs = [maker.make.remote(LARGE, float(number)) for number in range(4)]
    found: dict[int, float] = {}

    def ask(number: int) -> None:
        found[number] = float(shoal.get(refs[number % 4], timeout=SECONDS)["array"][0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert found == {number: float(number % 4) for number in range(8)}


@pytest.mark.parametrize("engine", ["native"], indirect=True)
@pytest.mark.processes
def test_a_process_that_ends_lets_go(engine: str) -> None:
    maker, borrower = Holder.remote(), Borrower.remote()
    (inside,) = shoal.get(borrower.hold.remote([maker]), timeout=SECONDS)
    assert shoal.get(inside, timeout=SECONDS)["array"].sum() == LARGE
    del inside
    gc.collect()
    assert shoal.get(maker.kept.remote()) == 1
    shoal.kill(borrower)
    until(lambda: shoal.get(maker.kept.remote()) == 0)
