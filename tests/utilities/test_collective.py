"""Collective operations between real processes."""

from __future__ import annotations

from typing import Any

import pytest

import shoal
from shoal.errors import ConfigError
from shoal.util import collective
from shoal.util.collective import ReduceOp, handles
from shoal.util.collective.types import Backend

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("processes")]


def test_backends_by_name() -> None:
    assert Backend("gloo") == Backend.GLOO
    assert Backend("carrier pigeon") == Backend.UNRECOGNIZED
    with pytest.raises(ConfigError, match="must be one of GLOO, NCCL"):
        collective.init_collective_group(1, 0, "carrier pigeon")
    with pytest.raises(ConfigError, match="rank must be"):
        collective.init_collective_group(2, 2, "gloo")
    with pytest.raises(ConfigError, match="not in a collective group 'none'"):
        collective.barrier("none")
    assert (collective.get_rank("none"), collective.get_collective_group_size("none")) == (-1, -1)
    assert not collective.is_group_initialized("none")
    collective.destroy_collective_group("none")


def test_a_backend_of_ones_own() -> None:
    class Alone(collective.CollectiveGroup):
        def allreduce(self, tensor: Any, op: ReduceOp) -> None:
            tensor.append(op.name)

        def reduce(self, tensor: Any, dst_rank: int, op: ReduceOp) -> None: ...
        def broadcast(self, tensor: Any, src_rank: int) -> None: ...
        def allgather(self, tensor_list: list[Any], tensor: Any) -> None: ...
        def reducescatter(self, tensor: Any, tensor_list: list[Any], op: ReduceOp) -> None: ...
        def send(self, tensor: Any, dst_rank: int) -> None: ...
        def recv(self, tensor: Any, src_rank: int) -> None: ...
        def barrier(self) -> None: ...
        def destroy_group(self) -> None: ...

    collective.register_collective_backend("alone", Alone)
    assert collective.is_backend_available("alone")
    collective.init_collective_group(1, 0, "alone", "mine")
    values: list[str] = []
    collective.allreduce(values, "mine", ReduceOp.MAX)
    assert values == ["MAX"]
    with pytest.raises(ConfigError, match="already"):
        collective.init_collective_group(1, 0, "alone", "mine")
    with pytest.raises(ValueError, match="is this process itself"):
        collective.send(values, 0, "mine")
    collective.destroy_collective_group("mine")
    with pytest.raises(ConfigError, match="GLOO already"):
        collective.register_collective_backend("gloo", Alone)


class Counting(collective.CollectiveGroup):
    """A group without a library below it: its members are alone."""

    def allreduce(self, tensor: Any, op: ReduceOp) -> None:
        tensor[0] = self.world_size

    reduce = broadcast = allgather = reducescatter = send = recv = barrier = None  # type: ignore[assignment]

    def destroy_group(self) -> None:
        return


@shoal.remote(num_cpus=0)
class Member:
    def __init__(self) -> None:
        collective.register_collective_backend("counting", Counting)

    def rank_in(self, name: str) -> tuple[int, int]:
        return collective.get_rank(name), collective.get_collective_group_size(name)


def test_groups_with_handles() -> None:
    members = [Member.remote() for _ in range(3)]
    shoal.get([member.__shoal_ready__.remote() for member in members])
    group = handles.create_collective_group(members[:2], "counting", name="pair")
    everybody = handles.create_collective_group(members, "counting")
    assert shoal.get([member.rank_in.remote("pair") for member in members]) == [(0, 2), (1, 2), (-1, -1)]
    assert [group.get_rank(member) for member in members] == [0, 1, -1]
    assert handles.get_collective_groups(members[1:2], "counting") == [group, everybody]
    assert handles.get_collective_groups(members) == [everybody]
    assert handles.get_collective_groups(members, "gloo") == []
    with pytest.raises(ConfigError, match="'pair' already"):
        handles.create_collective_group(members[:1], "counting", name="pair")
    with pytest.raises(ConfigError, match="each once"):
        handles.create_collective_group([members[0], members[0]], "counting")
    handles.destroy_collective_group(group)
    assert shoal.get(members[0].rank_in.remote("pair")) == (-1, -1)
    with pytest.raises(ValueError, match=f"no collective group 'pair'; it has made: {everybody.name}"):
        handles.destroy_collective_group("pair")
    handles.destroy_all_collective_groups()
    assert handles.get_collective_groups([]) == []


@pytest.fixture(scope="module")
def torch_is_here() -> None:
    pytest.importorskip("torch")


@pytest.mark.usefixtures("torch_is_here")
class TestGloo:
    def test_every_operation(self) -> None:
        import numpy as np

        @shoal.remote(num_cpus=0)
        class Member:
            def join(self, size: int, rank: int) -> None:
                collective.init_collective_group(size, rank, "gloo", "all")

            def work(self) -> dict[str, Any]:
                import torch

                rank = collective.get_rank("all")
                total = torch.full((2, 2), rank + 1.0).t()
                collective.allreduce(total, "all")
                largest = np.array([float(rank)])
                collective.allreduce(largest, "all", ReduceOp.MAX)
                copied = torch.tensor([rank * 10])
                collective.broadcast(copied, 1, "all")
                parts = [torch.zeros(1) for _ in range(2)]
                collective.allgather(parts, torch.tensor([float(rank)]), "all")
                mine = torch.zeros(1)
                collective.reducescatter(mine, [torch.tensor([1.0]), torch.tensor([2.0])], "all")
                at_zero = torch.ones(1)
                collective.reduce(at_zero, 0, "all")
                sent = torch.tensor([5.0 + rank])
                if rank == 0:
                    collective.send(sent, 1, "all")
                else:
                    collective.recv(sent, 0, "all")
                collective.barrier("all")
                collective.destroy_collective_group("all")
                return {
                    "rank": rank,
                    "total": total.flatten().tolist(),
                    "largest": largest.tolist(),
                    "copied": copied.tolist(),
                    "parts": [part.item() for part in parts],
                    "mine": mine.item(),
                    "at_zero": at_zero.item(),
                    "sent": sent.item(),
                }

        members = [Member.remote() for _ in range(2)]
        shoal.get([member.join.remote(2, rank) for rank, member in enumerate(members)], timeout=60)
        zero, one = shoal.get([member.work.remote() for member in members], timeout=60)
        for found in (zero, one):
            assert found["total"] == [3.0] * 4
            assert found["largest"] == [1.0]
            assert found["copied"] == [10]
            assert found["parts"] == [0.0, 1.0]
            assert found["sent"] == 5.0
        assert (zero["mine"], one["mine"]) == (2.0, 4.0)
        assert zero["at_zero"] == 2.0

    def test_members_with_several_devices(self) -> None:
        @shoal.remote(num_cpus=0)
        class Member:
            def work(self, rank: int) -> dict[str, Any]:
                import torch

                collective.init_collective_group(2, rank, "gloo", "several")
                mine = [torch.tensor([1.0 + rank * 2 + i]) for i in range(2)]  # 1 2 at rank 0, 3 4 at rank 1
                found: dict[str, Any] = {}

                def copies() -> list[Any]:
                    return [one.clone() for one in mine]

                for op in (ReduceOp.SUM, ReduceOp.PRODUCT, ReduceOp.MIN, ReduceOp.MAX):
                    every = copies()
                    collective.allreduce_multigpu(every, "several", op)
                    found[op.name] = [one.item() for one in every]
                at_one = copies()
                collective.reduce_multigpu(at_one, 1, 0, "several")
                found["reduced"] = [one.item() for one in at_one]
                copied = copies()
                collective.broadcast_multigpu(copied, 1, 0, "several")
                found["copied"] = [one.item() for one in copied]
                gathered = [[torch.zeros(1) for _ in range(4)] for _ in range(2)]
                collective.allgather_multigpu(gathered, mine, "several")
                found["gathered"] = [[one.item() for one in each] for each in gathered]
                scattered = [torch.zeros(1) for _ in range(2)]
                lists = [[one * k for k in range(1, 5)] for one in mine]
                collective.reducescatter_multigpu(scattered, lists, "several")
                found["scattered"] = [one.item() for one in scattered]
                sent = torch.arange(4.0) * (1 - rank)
                if rank == 0:
                    collective.send_multigpu(sent, 1, 0, "several", n_elements=3)
                    collective.send_multigpu(sent, 1, 7, "several")
                else:
                    collective.recv_multigpu(sent, 0, 0, "several", n_elements=3)
                    with pytest.raises(ValueError, match="to device 7 here"):
                        collective.recv_multigpu(torch.zeros(4), 0, 0, "several")
                found["sent"] = sent.tolist()
                with pytest.raises(ValueError, match="2 lists, each with 4"):
                    collective.allgather_multigpu([[torch.zeros(1)]], mine, "several")
                with pytest.raises(TypeError, match="list of torch tensors"):
                    collective.allreduce_multigpu([1.0], "several")
                collective.destroy_collective_group("several")
                return found

        members = [Member.remote() for _ in range(2)]
        zero, one = shoal.get([member.work.remote(rank) for rank, member in enumerate(members)], timeout=60)
        for found in (zero, one):
            assert (found["SUM"], found["PRODUCT"]) == ([10.0] * 2, [24.0] * 2)
            assert (found["MIN"], found["MAX"]) == ([1.0] * 2, [4.0] * 2)
            assert found["copied"] == [3.0] * 2
            assert found["gathered"] == [[1.0, 2.0, 3.0, 4.0]] * 2
        assert (zero["reduced"], one["reduced"]) == ([1.0, 2.0], [10.0, 4.0])
        assert (zero["scattered"], one["scattered"]) == ([10.0, 20.0], [30.0, 40.0])
        assert one["sent"] == [0.0, 1.0, 2.0, 0.0]

    def test_a_group_is_made_from_outside(self) -> None:
        @shoal.remote(num_cpus=0)
        class Member:
            def sum(self, value: float) -> float:
                import torch

                tensor = torch.tensor([value])
                collective.allreduce(tensor, "outside")
                return float(tensor.item())

        members = [Member.remote() for _ in range(2)]
        with pytest.raises(ConfigError, match="ranks must be"):
            collective.create_collective_group(members, 2, [0, 0], "gloo", "outside")
        collective.create_collective_group(members, 2, [1, 0], "gloo", "outside")
        assert shoal.get([member.sum.remote(2.0) for member in members], timeout=60) == [4.0, 4.0]

    def test_a_read_only_array_says_what_to_do(self) -> None:
        import numpy as np

        collective.init_collective_group(1, 0, "gloo", "one")
        try:
            with pytest.raises(ValueError, match=r"copy\(\)"):
                collective.allreduce(shoal.get(shoal.put(np.ones(100_000))), "one")
            with pytest.raises(TypeError, match="torch tensors and numpy arrays"):
                collective.allreduce([1], "one")
        finally:
            collective.destroy_collective_group("one")
