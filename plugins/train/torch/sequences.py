"""Attention over sequences whose parts lie on several ranks, where torch has none: keys and values are gathered."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any


@contextlib.contextmanager
def dealt(buffers: Sequence[Any], dims: Sequence[int], mesh: Any) -> Iterator[None]:
    """Leave in every tensor this rank's part along a dimension; after it they are whole again.

    Example: `with dealt([tokens], [1], mesh["cp"]): ...`
    """
    import torch

    whole = [buffer.detach().clone() for buffer in buffers]
    with torch.no_grad():
        for buffer, dim in zip(buffers, dims, strict=True):
            part = buffer.chunk(mesh.size(), dim)[mesh.get_local_rank()].clone()
            buffer.resize_(part.shape).copy_(part)
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, all_of_it in zip(buffers, whole, strict=True):
                buffer.resize_(all_of_it.shape).copy_(all_of_it)


@contextlib.contextmanager
def gathering_attention(mesh: Any) -> Iterator[None]:
    """Let torch's scaled_dot_product_attention attend to all ranks' keys and values.

    Example: `with gathering_attention(mesh["cp"]): model(tokens)`
    """
    import torch

    plain = torch.nn.functional.scaled_dot_product_attention

    def attention(
        query: Any,
        key: Any,
        value: Any,
        attn_mask: Any = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> Any:
        if attn_mask is not None:
            raise ValueError(
                "context_parallel takes no attn_mask: a mask is over the whole sequence; use is_causal=True or none"
            )
        group = mesh.get_group()
        if is_causal:
            rows, columns = query.shape[-2], key.shape[-2] * mesh.size()
            first = rows * mesh.get_local_rank()
            places = torch.arange(columns, device=query.device)
            attn_mask = places[None, :] <= places[first : first + rows, None]
        return plain(
            query, _gathered(key, group), _gathered(value, group), attn_mask, dropout_p, False, **options
        )

    torch.nn.functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        torch.nn.functional.scaled_dot_product_attention = plain


@functools.cache
def _gather() -> Any:
    import torch
    import torch.distributed as dist

    base: Any = torch.autograd.Function

    class Gather(base):  # type: ignore[misc]
        """All ranks' parts along the last dimension but one; backwards, the sum of what they made of this one."""

        @staticmethod
        def forward(ctx: Any, part: Any, group: Any) -> Any:
            ctx.group = group
            parts = [torch.empty_like(part) for _ in range(dist.get_world_size(group))]
            dist.all_gather(parts, part.contiguous(), group=group)
            return torch.cat(parts, dim=-2)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            total = gradients[0].contiguous().clone()
            dist.all_reduce(total, group=ctx.group)
            return total.chunk(dist.get_world_size(ctx.group), dim=-2)[dist.get_rank(ctx.group)], None

    return Gather


def _gathered(part: Any, group: Any) -> Any:
    return _gather().apply(part, group)
