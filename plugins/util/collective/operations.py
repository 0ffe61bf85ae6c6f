"""Groups of actors and tasks whose members exchange tensors directly."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import shoal
from shoal.errors import ConfigError, describe
from shoal.util.collective.backends import CollectiveGroup, known_backends, own_backend, torch_has
from shoal.util.collective.types import DEFAULT_GROUP, DEFAULT_TIMEOUT_MS, Backend, ReduceOp


class _Groups:
    """The groups that this process is a member of."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_name: dict[str, CollectiveGroup] = {}


_groups = _Groups()


def gloo_available() -> bool:
    """Tell whether groups on CPUs can be made."""
    return torch_has("GLOO")


def nccl_available() -> bool:
    """Tell whether groups on CUDA devices can be made."""
    return torch_has("NCCL")


def is_backend_available(backend: str) -> bool:
    """Tell whether groups of a backend can be made here."""
    name = Backend(backend)
    return own_backend(name) is not None or (name in ("GLOO", "NCCL") and torch_has(name))


def init_collective_group(
    world_size: int,
    rank: int,
    backend: str = Backend.NCCL,
    group_name: str = DEFAULT_GROUP,
    gloo_timeout: int = DEFAULT_TIMEOUT_MS,
) -> None:
    """Join a group as member `rank` of `world_size`. Every member calls this; it returns when the group can be used.

    Parameters: `backend` is "gloo" for tensors on CPUs, "nccl" for CUDA devices, or one that was registered;
    `gloo_timeout` is how long an operation waits for the other members, in milliseconds.
    Raises ConfigError for a backend that is not here and a name that is in use, GetTimeout if rank 0 does not come.
    """
    name = Backend(backend)
    if name == Backend.UNRECOGNIZED:
        raise ConfigError(f"backend must be one of {', '.join(known_backends())}, not {describe(backend)}")
    if not group_name or type(group_name) is not str:
        raise ConfigError(f"group_name must be text that is not empty, not {describe(group_name)}")
    if world_size < 1 or not 0 <= rank < world_size:
        raise ConfigError(f"rank must be from 0 to world_size − 1; rank {rank} of {world_size} was given")
    with _groups.lock:
        if group_name in _groups.by_name:
            raise ConfigError(f"this process is in a collective group {group_name!r} already")
    make = own_backend(name)
    if make is not None:
        group = make(world_size, rank, group_name, gloo_timeout)
    else:
        from shoal.util.collective.torch_group import TorchGroup

        group = TorchGroup(world_size, rank, group_name, gloo_timeout, str(name))
    with _groups.lock:
        _groups.by_name[group_name] = group


def create_collective_group(
    actors: Sequence[Any],
    world_size: int,
    ranks: Sequence[int],
    backend: str = Backend.NCCL,
    group_name: str = DEFAULT_GROUP,
    gloo_timeout: int = DEFAULT_TIMEOUT_MS,
) -> None:
    """Make a group of actors, from outside; actor `actors[i]` becomes member `ranks[i]`. Returns when all have joined.

    Raises ConfigError if the numbers do not fit, and what a member raises.
    """
    if len(actors) != world_size or sorted(ranks) != list(range(world_size)):
        raise ConfigError(
            f"ranks must be the numbers from 0 to {world_size - 1}, one for each of {world_size} actors; "
            f"{len(actors)} actors and ranks {list(ranks)} were given"
        )
    shoal.get(
        [
            actor.__shoal_call__.remote(_join, world_size, rank, str(backend), group_name, gloo_timeout)
            for actor, rank in zip(actors, ranks, strict=True)
        ]
    )


def _join(instance: Any, *arguments: Any) -> None:
    init_collective_group(*arguments)


def destroy_collective_group(group_name: str = DEFAULT_GROUP) -> None:
    """Leave a group; one that this process is not in is left alone."""
    with _groups.lock:
        group = _groups.by_name.pop(group_name, None)
    if group is not None:
        group.destroy_group()


def is_group_initialized(group_name: str) -> bool:
    """Tell whether this process is in that group."""
    return group_name in _groups.by_name


def get_group_handle(group_name: str = DEFAULT_GROUP) -> CollectiveGroup:
    """Return this process's part in a group. Raises ConfigError if it is not in it."""
    group = _groups.by_name.get(group_name)
    if group is None:
        raise ConfigError(
            f"this process is not in a collective group {group_name!r}: call init_collective_group() in each member "
            f"first. It is in: {', '.join(_groups.by_name) or 'none'}"
        )
    return group


def get_rank(group_name: str = DEFAULT_GROUP) -> int:
    """Return this process's number in a group, −1 if it is not in it."""
    group = _groups.by_name.get(group_name)
    return -1 if group is None else group.rank


def get_collective_group_size(group_name: str = DEFAULT_GROUP) -> int:
    """Return how many members a group has, −1 if this process is not in it."""
    group = _groups.by_name.get(group_name)
    return -1 if group is None else group.world_size


def allreduce(tensor: Any, group_name: str = DEFAULT_GROUP, op: ReduceOp = ReduceOp.SUM) -> None:
    """Put the members' tensors together; each member's has the result."""
    get_group_handle(group_name).allreduce(tensor, op)


def reduce(
    tensor: Any, dst_rank: int = 0, group_name: str = DEFAULT_GROUP, op: ReduceOp = ReduceOp.SUM
) -> None:
    """Put the members' tensors together; that of `dst_rank` has the result, what the others' have is undefined."""
    group = get_group_handle(group_name)
    group.reduce(tensor, _member(group, dst_rank), op)


def broadcast(tensor: Any, src_rank: int = 0, group_name: str = DEFAULT_GROUP) -> None:
    """Copy the tensor of `src_rank` to all members."""
    group = get_group_handle(group_name)
    group.broadcast(tensor, _member(group, src_rank))


def allgather(tensor_list: list[Any], tensor: Any, group_name: str = DEFAULT_GROUP) -> None:
    """Fill `tensor_list`, one tensor for each member, with the members' tensors."""
    get_group_handle(group_name).allgather(tensor_list, tensor)


def reducescatter(
    tensor: Any, tensor_list: list[Any], group_name: str = DEFAULT_GROUP, op: ReduceOp = ReduceOp.SUM
) -> None:
    """Put the members' lists together and leave each member, in `tensor`, the part with its rank."""
    get_group_handle(group_name).reducescatter(tensor, tensor_list, op)


def send(tensor: Any, dst_rank: int, group_name: str = DEFAULT_GROUP) -> None:
    """Send a tensor to a member, which receives it with `recv`. Raises ValueError for the member itself."""
    group = get_group_handle(group_name)
    group.send(tensor, _other(group, dst_rank))


def recv(tensor: Any, src_rank: int, group_name: str = DEFAULT_GROUP) -> None:
    """Receive a member's tensor into this one, of the same shape and type. Raises ValueError for the member itself."""
    group = get_group_handle(group_name)
    group.recv(tensor, _other(group, src_rank))


def barrier(group_name: str = DEFAULT_GROUP) -> None:
    """Wait until all members are here."""
    get_group_handle(group_name).barrier()


def _member(group: CollectiveGroup, rank: int) -> int:
    if not 0 <= rank < group.world_size:
        raise ValueError(f"the group has the ranks 0 to {group.world_size - 1}, not {rank}")
    return rank


def _other(group: CollectiveGroup, rank: int) -> int:
    if rank == group.rank:
        raise ValueError(f"rank {rank} is this process itself")
    return _member(group, rank)
