"""The ranks as a mesh of devices, and what goes over several of its axes at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from shoal.train.session import session_here
from shoal.train.torch.devices import get_device

_GRADIENT_AXES = ("dp", "fsdp", "cp")  # along these each rank sees other tokens, and gradients are averaged


def get_device_mesh() -> Any:
    """Return the torch.distributed.DeviceMesh that `ScalingConfig.parallel` describes, with its axes' names.

    Torch's own fully_shard, parallelize_module, context_parallel and pipelining take it, or one axis: `mesh["tp"]`.
    Raises SessionMisuseError outside of a training function.

    Example: `parallelize_module(model, train.torch.get_device_mesh()["tp"], plan)`
    """
    from torch.distributed.device_mesh import init_device_mesh

    session = session_here("train.torch.get_device_mesh()")
    if "mesh" not in session.stash:
        shape = session.orders.mesh
        session.stash["mesh"] = init_device_mesh(
            get_device().type, tuple(shape.values()), mesh_dim_names=tuple(shape)
        )
    return session.stash["mesh"]


def get_data_mesh(dealt: bool = False) -> Any:
    """Return the part of the mesh over which gradients are averaged: the axes dp, fsdp and cp as one, None without any.

    `prepare_model` takes it by itself; it is for models that are put together by hand.

    Parameters: `dealt` keeps what shards are copied over (dp) apart from what they are dealt to (fsdp and cp), if there
    are both, as `fully_shard` wants it for copies.
    Raises SessionMisuseError outside of a training function.

    Example: `fully_shard(model, mesh=train.torch.get_data_mesh())`
    """
    mesh = get_device_mesh()
    axes = [axis for axis in mesh.mesh_dim_names if axis in _GRADIENT_AXES]
    if not axes:
        return None
    inner = [axis for axis in axes if axis != "dp"]
    if dealt and "fsdp" in axes and "dp" in axes:
        if len(inner) == 1:
            return mesh["dp", inner[0]]
        _flat(mesh, inner)
        return mesh["dp", "_".join(inner)]
    return mesh[axes[0]] if len(axes) == 1 else _flat(mesh, axes)


def _flat(mesh: Any, axes: Sequence[str]) -> Any:
    made = session_here("train.torch.get_data_mesh()").stash.setdefault("flat_meshes", {})
    name = "_".join(axes)
    if name not in made:
        made[name] = mesh[tuple(axes)]._flatten(name)
    return made[name]


@contextlib.contextmanager
def context_parallel(buffers: Sequence[Any], dims: Sequence[int]) -> Iterator[None]:
    """Deal sequences to the ranks along the axis cp of `ScalingConfig.parallel`; attention is over all of them.

    Within, every tensor of `buffers` is this rank's part along its dimension of `dims`, in place, and
    `torch.nn.functional.scaled_dot_product_attention` attends to the keys and values of all ranks. On GPUs it is
    torch's own `context_parallel`, which passes keys and values on in a ring; on CPUs, for which that has no attention,
    they are gathered. After it the tensors are whole again. Without an axis cp nothing changes. Parameters of the model
    cannot be among the buffers; what depends on a token's place (numbers of positions) must be.
    Raises ValueError for tensors and dimensions that are not equally many, or a length that the ranks do not divide.

    Example: `with train.torch.context_parallel([tokens, targets, places], [1, 1, 0]): loss = step(tokens, targets)`
    """
    if len(buffers) != len(dims):
        raise ValueError(
            f"context_parallel needs a dimension for each of {len(buffers)} buffers, not {len(dims)}"
        )
    mesh = get_device_mesh()
    if "cp" not in mesh.mesh_dim_names or mesh["cp"].size() == 1:
        yield
        return
    if get_device().type != "cpu":
        from torch.distributed.tensor.experimental import context_parallel as ring

        with ring(mesh["cp"], buffers=list(buffers), buffer_seq_dims=list(dims)):
            yield
        return
    from shoal.train.torch.sequences import dealt, gathering_attention

    for buffer, dim in zip(buffers, dims, strict=True):
        if buffer.shape[dim] % mesh["cp"].size():
            raise ValueError(
                f"the dimension {dim} of a buffer of the shape {tuple(buffer.shape)} cannot be dealt to "
                f"{mesh['cp'].size()} ranks equally"
            )
    with dealt(buffers, dims, mesh["cp"]), gathering_attention(mesh["cp"]):
        yield
