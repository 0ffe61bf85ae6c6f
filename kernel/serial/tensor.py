"""Torch tensors in main memory travel as one buffer; torch's own pickling copies them three times."""

from __future__ import annotations

from typing import Any

import torch


def reduce_tensor(tensor: Any) -> Any:
    """Return how to pickle a plain CPU tensor, or NotImplemented where torch's own way is the right one."""
    special = tensor.is_quantized or tensor.is_conj() or tensor.is_neg() or tensor.layout is not torch.strided
    if tensor.device.type != "cpu" or special or tensor.grad_fn is not None or tensor.__dict__:
        return NotImplemented
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return load_tensor, (flat.numpy(), tensor.dtype, tuple(tensor.shape), tensor.requires_grad)


def load_tensor(data: Any, dtype: Any, shape: tuple[int, ...], requires_grad: bool) -> Any:
    """Return a tensor of its own memory: torch does not know read-only memory and would write into the store."""
    if data.nbytes == 0:
        return torch.empty(shape, dtype=dtype, requires_grad=requires_grad)
    tensor = torch.from_numpy(data.copy()).view(dtype).reshape(shape)
    return tensor.requires_grad_() if requires_grad else tensor
