"""Collective operations of members that have several devices each: a list of tensors, one on each device.

A member first puts the tensors of its own devices together, then the members do, and each spreads what comes out over
its devices. Every member has as many tensors as the others; the tensors of all are numbered member by member.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shoal.errors import describe
from shoal.util.collective.operations import (
    allgather,
    allreduce,
    broadcast,
    get_group_handle,
    recv,
    reduce,
    reducescatter,
    send,
)
from shoal.util.collective.types import DEFAULT_GROUP, ReduceOp


def allreduce_multigpu(
    tensor_list: list[Any], group_name: str = DEFAULT_GROUP, op: ReduceOp = ReduceOp.SUM
) -> None:
    """Put all tensors of all members together; each of them has the result."""
    together = _combined(_tensors(tensor_list, "tensor_list"), op)
    allreduce(together, group_name, op)
    _spread(together, tensor_list)


def reduce_multigpu(
    tensor_list: list[Any],
    dst_rank: int = 0,
    dst_tensor: int = 0,
    group_name: str = DEFAULT_GROUP,
    op: ReduceOp = ReduceOp.SUM,
) -> None:
    """Put all tensors of all members together; tensor `dst_tensor` of member `dst_rank` has the result."""
    target = _one_of(_tensors(tensor_list, "tensor_list"), dst_tensor, "dst_tensor")
    together = _combined(tensor_list, op)
    reduce(together, dst_rank, group_name, op)
    if get_group_handle(group_name).rank == dst_rank:
        target.copy_(together)


def broadcast_multigpu(
    tensor_list: list[Any], src_rank: int = 0, src_tensor: int = 0, group_name: str = DEFAULT_GROUP
) -> None:
    """Copy tensor `src_tensor` of member `src_rank` to all tensors of all members."""
    source = _one_of(_tensors(tensor_list, "tensor_list"), src_tensor, "src_tensor").clone()
    broadcast(source, src_rank, group_name)
    _spread(source, tensor_list)


def allgather_multigpu(
    output_tensor_lists: list[list[Any]], input_tensor_list: list[Any], group_name: str = DEFAULT_GROUP
) -> None:
    """Fill each list with the tensors of all members, in their order; there is a list for each tensor given."""
    inputs = _tensors(input_tensor_list, "input_tensor_list")
    size = get_group_handle(group_name).world_size
    _check_lists(output_tensor_lists, "output_tensor_lists", len(inputs), size * len(inputs))
    mine = _stacked(inputs, inputs[0])
    found = [mine.new_empty(mine.shape) for _ in range(size)]
    allgather(found, mine, group_name)
    for outputs in output_tensor_lists:
        for index, output in enumerate(outputs):
            output.copy_(found[index // len(inputs)][index % len(inputs)])


def reducescatter_multigpu(
    output_tensor_list: list[Any],
    input_tensor_lists: list[list[Any]],
    group_name: str = DEFAULT_GROUP,
    op: ReduceOp = ReduceOp.SUM,
) -> None:
    """Put the lists of all devices of all members together, and leave each device the part with its number."""
    outputs = _tensors(output_tensor_list, "output_tensor_list")
    size = get_group_handle(group_name).world_size
    _check_lists(input_tensor_lists, "input_tensor_lists", len(outputs), size * len(outputs))
    parts = [
        _combined([inputs[index] for inputs in input_tensor_lists], op)
        for index in range(size * len(outputs))
    ]
    shares = [
        _stacked(parts[start : start + len(outputs)], outputs[0])
        for start in range(0, len(parts), len(outputs))
    ]
    mine = shares[0].new_empty(shares[0].shape)
    reducescatter(mine, shares, group_name, op)
    for output, part in zip(outputs, mine, strict=True):
        output.copy_(part)


def send_multigpu(
    tensor: Any, dst_rank: int, dst_gpu_index: int, group_name: str = DEFAULT_GROUP, n_elements: int = 0
) -> None:
    """Send a tensor, or the first `n_elements` of it, to a device of a member, which calls `recv_multigpu`."""
    part = _first(tensor, n_elements)
    send(_label(part, _device(tensor), dst_gpu_index), dst_rank, group_name)
    send(part, dst_rank, group_name)


def recv_multigpu(
    tensor: Any, src_rank: int, src_gpu_index: int, group_name: str = DEFAULT_GROUP, n_elements: int = 0
) -> None:
    """Receive what a device of a member sends to the device of this tensor, or into its first `n_elements`.

    Raises ValueError if what comes was meant for another device, is of another, or has another size.
    """
    part = _first(tensor, n_elements)
    label = _label(part, 0, 0)
    recv(label, src_rank, group_name)
    source, target, count = label.tolist()
    whole = part if count == part.numel() else part.new_empty(count)
    recv(whole, src_rank, group_name)
    wanted = (src_gpu_index, _device(tensor), part.numel())
    if (source, target, count) != wanted:
        raise ValueError(
            f"rank {src_rank} sent {count} elements from its device {source} to device {target} here; awaited were "
            f"{wanted[2]} from its device {wanted[0]} to device {wanted[1]}"
        )
    if whole.data_ptr() != tensor.data_ptr():
        tensor.view(-1)[:count].copy_(whole)


def _tensors(values: Any, what: str) -> list[Any]:
    import torch

    if not isinstance(values, list) or not values or not all(isinstance(one, torch.Tensor) for one in values):
        raise TypeError(
            f"{what} must be a list of torch tensors, one for each device, not {describe(values)}"
        )
    if any(one.shape != values[0].shape or one.dtype != values[0].dtype for one in values):
        raise ValueError(f"the tensors of {what} must have one shape and one type")
    return values


def _one_of(tensors: Sequence[Any], index: int, what: str) -> Any:
    if not 0 <= index < len(tensors):
        raise ValueError(f"{what} must be from 0 to {len(tensors) - 1}, not {index}")
    return tensors[index]


def _check_lists(lists: Any, what: str, count: int, length: int) -> None:
    if not isinstance(lists, list) or [len(one) for one in lists] != [length] * count:
        raise ValueError(
            f"{what} must be {count} lists, each with {length} tensors: one for each device of each member"
        )
    for index, one in enumerate(lists):
        _tensors(one, f"{what}[{index}]")


def _combined(tensors: Sequence[Any], op: ReduceOp) -> Any:
    """One tensor for this member, on the device of the first."""
    import torch

    put = {
        ReduceOp.SUM: torch.add,
        ReduceOp.PRODUCT: torch.mul,
        ReduceOp.MIN: torch.minimum,
        ReduceOp.MAX: torch.maximum,
    }[ReduceOp(op)]
    together = tensors[0].clone()
    for one in tensors[1:]:
        put(together, one.to(together.device), out=together)
    return together


def _spread(source: Any, tensors: Sequence[Any]) -> None:
    for one in tensors:
        one.copy_(source)


def _stacked(tensors: Sequence[Any], like: Any) -> Any:
    import torch

    return torch.stack([one.to(like.device) for one in tensors])


def _first(tensor: Any, n_elements: int) -> Any:
    (tensor,) = _tensors([tensor], "tensor")
    if not 0 <= n_elements <= tensor.numel():
        raise ValueError(f"n_elements must be from 0 (all) to {tensor.numel()}, not {n_elements}")
    if not tensor.is_contiguous():
        raise ValueError("the tensor must be contiguous: use tensor.contiguous()")
    return tensor.view(-1)[: n_elements or tensor.numel()]


def _device(tensor: Any) -> int:
    return max(int(tensor.get_device()), 0)  # the CPU is device 0


def _label(part: Any, source: int, target: int) -> Any:
    import torch

    return torch.tensor([source, target, part.numel()], dtype=torch.int64, device=part.device)
