"""Optimisers, and moving averages of networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

_FUSED = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 4)


def adam(
    parameters: Iterable[Any], lr: float, eps: float = 1e-8, weight_decay: float = 0.0
) -> torch.optim.Adam:
    """Return Adam (Kingma and Ba, 2015), all of a step in one call where torch can: small networks spend their time in
    calls.

    Example: `adam(module.parameters(), 1e-3)`
    """
    listed = list(parameters)
    fused = _FUSED and all(each.device.type in ("cpu", "cuda") for each in listed)
    return torch.optim.Adam(listed, lr=lr, eps=eps, weight_decay=weight_decay, fused=fused or None)


def step(optimizer: torch.optim.Optimizer, loss: Any, clip: float | None = None) -> None:
    """Make one step down a loss; `clip` bounds the norm of the gradient.

    Example: `step(optimizer, loss, clip=40.0)`
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip is not None:
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()


@torch.no_grad()  # type: ignore[untyped-decorator]
def follow(target: torch.nn.Module, source: torch.nn.Module, tau: float) -> None:
    """Move a network's weights by the part `tau` of the way to another's; 1 copies them.

    Example: `follow(target, online, 0.005)`
    """
    for after, before in zip(target.parameters(), source.parameters(), strict=True):
        after.lerp_(before, tau)
