"""Small functions on torch's tensors."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import optree
import torch

from shoal.errors import ConfigError

logger = logging.getLogger(__name__)


def clip_gradients(
    gradients_dict: Mapping[Any, Any], *, grad_clip: float | None = None, grad_clip_by: str = "value"
) -> Any:
    """Bound gradients, in place: each number ("value"), each tensor's norm ("norm") or that of all ("global_norm").

    Return the norm of all before, for "global_norm"; else None. `grad_clip` None does nothing. Raises ConfigError for
    another way.

    Example: `clip_gradients({"w": tensor}, grad_clip=1.0, grad_clip_by="global_norm")`
    """
    if grad_clip is None:
        return None
    there = [each for each in gradients_dict.values() if each is not None]
    if grad_clip_by == "value":
        for each in there:
            each.clamp_(-grad_clip, grad_clip)
        return None
    if grad_clip_by == "norm":
        for each in there:
            each.mul_(torch.clamp(grad_clip / (each.norm(2) + 1e-6), max=1.0))
        return None
    if grad_clip_by != "global_norm":
        raise ConfigError(f'grad_clip_by must be "value", "norm" or "global_norm", not {grad_clip_by!r}')
    norm = compute_global_norm(there)
    factor = torch.clamp(grad_clip / (norm + 1e-6), max=1.0)
    for each in there:
        each.mul_(factor.to(each.device))
    return norm


def compute_global_norm(gradients_list: Sequence[Any]) -> Any:
    """Return the Euclidean norm of all tensors together.

    Example: `compute_global_norm([torch.ones(4)])  # tensor(2.)`
    """
    if not gradients_list:
        return torch.tensor(0.0)
    device = gradients_list[0].device
    return torch.stack([each.detach().norm(2).to(device) for each in gradients_list]).norm(2)


def global_norm(tensors: Sequence[Any]) -> Any:
    """Do as `compute_global_norm`."""
    return compute_global_norm(tensors)


def convert_to_torch_tensor(
    x: Any, device: Any = None, pin_memory: bool = False, use_stream: bool = False, stream: Any = None
) -> Any:
    """Return tensors of the arrays and numbers of a structure, of 32 bits where they are real numbers.

    Parameters: `pin_memory` for what goes to a GPU; with `use_stream` copies go through `stream`, or one of their own.

    Example: `convert_to_torch_tensor({"obs": np.zeros(2)})["obs"].dtype  # torch.float32`
    """

    def tensor(item: Any) -> Any:
        if item is None or isinstance(item, (str, bytes)):
            return item
        if not isinstance(item, torch.Tensor):
            array = np.asarray(item)
            if array.dtype.kind not in "biuf":
                return item
            if array.dtype in (np.uint16, np.uint32, np.uint64):
                array = array.astype(np.int64)
            item = torch.from_numpy(np.ascontiguousarray(array))
        if item.dtype == torch.float64:
            item = item.float()
        if pin_memory and torch.cuda.is_available():
            item = item.pin_memory()
        if device is None:
            return item
        if use_stream and torch.device(device).type == "cuda":
            with torch.cuda.stream(stream or torch.cuda.Stream()):
                return item.to(device, non_blocking=True)
        return item.to(device)

    return optree.tree_map(tensor, x)


def copy_torch_tensors(x: Any, device: Any = None) -> Any:
    """Return the tensors of a structure as copies without gradients.

    Example: `copy_torch_tensors({"w": tensor}, "cpu")`
    """

    def copied(item: Any) -> Any:
        if not isinstance(item, torch.Tensor):
            return item
        made = item.detach().clone()
        return made if device is None else made.to(device)

    return optree.tree_map(copied, x)


def explained_variance(y: Any, pred: Any) -> Any:
    """Return which part of the variance of values predictions explain: 1 all of it, -1 none or worse.

    Example: `explained_variance(torch.arange(3.0), torch.arange(3.0))  # tensor(1.)`
    """
    spread = torch.var(y, dim=0, unbiased=False)
    lowest = torch.tensor(-1.0, device=pred.device)
    return torch.max(lowest, 1 - torch.var(y - pred, dim=0, unbiased=False) / (spread + 1e-8))


def flatten_inputs_to_1d_tensor(inputs: Any, spaces_struct: Any = None, time_axis: bool = False) -> Any:
    """Return the parts of a batch one behind the other in a row; choices as zeros and a one.

    Parameters: `spaces_struct` tells which numbers are choices; with `time_axis` there are two dimensions before.

    Example: `flatten_inputs_to_1d_tensor({"a": torch.zeros(2, 3), "b": torch.zeros(2)}).shape  # (2, 4)`
    """
    leaves, form = optree.tree_flatten(inputs)
    spaces = [None] * len(leaves) if spaces_struct is None else form.flatten_up_to(spaces_struct)
    before = 2 if time_axis else 1
    rows = []
    for leaf, space in zip(leaves, spaces, strict=True):
        value = torch.as_tensor(leaf)
        if space is not None and isinstance(
            space, (gymnasium.spaces.Discrete, gymnasium.spaces.MultiDiscrete)
        ):
            value = one_hot(value, space)
        rows.append(value.float().reshape(*value.shape[:before], -1))
    return torch.cat(rows, dim=-1)


def one_hot(x: Any, space: gymnasium.Space[Any]) -> Any:
    """Return choices as zeros with a one, in a last dimension; several choices one behind the other.

    Raises ConfigError for a space without choices.

    Example: `one_hot(torch.tensor([1]), gymnasium.spaces.Discrete(3))  # tensor([[0., 1., 0.]])`
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return torch.nn.functional.one_hot(x.long() - int(space.start), int(space.n)).float()
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        counts = [int(each) for each in np.ravel(space.nvec)]
        flat = x.long().reshape(*x.shape[: x.dim() - space.nvec.ndim], -1)
        parts = [torch.nn.functional.one_hot(flat[..., n], count) for n, count in enumerate(counts)]
        return torch.cat(parts, dim=-1).float()
    raise ConfigError(f"one_hot is for Discrete and MultiDiscrete, not for {space}")


def reduce_mean_ignore_inf(x: Any, axis: int | None = None) -> Any:
    """Return the mean of those numbers that are not minus infinity (the least of 32 bits).

    Example: `reduce_mean_ignore_inf(torch.tensor([1.0, 3.0]))  # tensor(2.)`
    """
    there = (x != torch.finfo(torch.float32).min) & ~torch.isinf(x)
    counted = torch.where(there, x, torch.zeros_like(x))
    if axis is None:
        return counted.sum() / there.float().sum().clamp(min=1.0)
    return counted.sum(axis) / there.float().sum(axis).clamp(min=1.0)


def huber_loss(x: Any, delta: float = 1.0) -> Any:
    """Return half of squares, beyond `delta` lines (Huber, 1964).

    Example: `huber_loss(torch.tensor([3.0]))  # tensor([2.5000])`
    """
    return torch.where(x.abs() < delta, 0.5 * x.square(), delta * (x.abs() - 0.5 * delta))


def l2_loss(x: Any) -> Any:
    """Return half of the sum of squares.

    Example: `l2_loss(torch.tensor([2.0]))  # tensor(2.)`
    """
    return 0.5 * x.square().sum()


def sequence_mask(
    lengths: Any, maxlen: int | None = None, dtype: Any = None, time_major: bool = False
) -> Any:
    """Return for each length which of `maxlen` (None: the greatest) places it covers.

    Example: `sequence_mask(torch.tensor([1, 2]))  # [[True, False], [True, True]]`
    """
    size = int(lengths.max()) if maxlen is None else int(maxlen)
    mask = torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]
    if time_major:
        mask = mask.t()
    return mask.to(dtype or torch.bool)


def set_torch_seed(seed: int | None = None) -> None:
    """Let torch, NumPy and Python draw the same numbers again, and torch compute alike. None does nothing.

    Example: `set_torch_seed(1)`
    """
    if seed is None:
        return
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    torch.backends.cudnn.deterministic = True


def softmax_cross_entropy_with_logits(logits: Any, labels: Any) -> Any:
    """Return the cross entropy of each row, of logits and the numbers of classes.

    Example: `softmax_cross_entropy_with_logits(torch.zeros(1, 2), torch.tensor([0]))`
    """
    return torch.nn.functional.cross_entropy(logits, labels.long(), reduction="none")


def symlog(x: Any) -> Any:
    """Return logarithms of both signs (Hafner et al., 2023, equation 9).

    Example: `symlog(torch.tensor(0.0))  # tensor(0.)`
    """
    return torch.sign(x) * torch.log1p(torch.abs(x))


def inverse_symlog(y: Any) -> Any:
    """Return what `symlog` was taken of.

    Example: `inverse_symlog(symlog(torch.tensor(5.0)))  # tensor(5.)`
    """
    return torch.sign(y) * torch.expm1(torch.abs(y))


def two_hot(
    value: Any,
    num_buckets: int = 255,
    lower_bound: float = -20.0,
    upper_bound: float = 20.0,
    device: Any = None,
) -> Any:
    """Return numbers as weights of the two buckets between which they lie (Hafner et al., 2023, equation 8).

    Parameters: `value` has one dimension; the buckets' numbers are spread evenly from one bound to the other.

    Example: `two_hot(torch.tensor([0.0]), 3, -1.0, 1.0)  # tensor([[0., 1., 0.]])`
    """
    place = (
        (value.clamp(lower_bound, upper_bound) - lower_bound)
        / (upper_bound - lower_bound)
        * (num_buckets - 1)
    )
    below = place.floor().long().clamp(0, num_buckets - 1)
    above = (below + 1).clamp(max=num_buckets - 1)
    weight = (place - below).clamp(0.0, 1.0)
    made = torch.zeros(*value.shape, num_buckets, device=device or value.device)
    made.scatter_add_(-1, below.unsqueeze(-1), (1 - weight).unsqueeze(-1))
    made.scatter_add_(-1, above.unsqueeze(-1), weight.unsqueeze(-1))
    return made


def update_target_network(main_net: Any, target_net: Any, tau: float) -> None:
    """Move the weights of a copy towards those of a network: the part `tau` of the way.

    Example: `update_target_network(network, copy, tau=1.0)`
    """
    theirs = target_net.state_dict()
    moved = {
        name: tau * value + (1 - tau) * theirs[name] if value.is_floating_point() else value
        for name, value in main_net.state_dict().items()
    }
    target_net.load_state_dict(moved)


def make_target_network(main_net: Any) -> Any:
    """Return a copy of a network that gradients do not go through.

    Example: `target = make_target_network(network)`
    """
    made = copy.deepcopy(main_net)
    made.requires_grad_(False)
    return made


def warn_if_infinite_kl_divergence(policy: Any, kl_divergence: Any) -> None:
    """Warn if a divergence is infinite, which comes of actions that have become impossible.

    Example: `warn_if_infinite_kl_divergence(module, loss)`
    """
    if torch.isinf(kl_divergence).any():
        logger.warning(
            "the divergence of %s from its policy before is infinite: an action has become impossible; "
            "a smaller learning rate or kl_coeff=0 helps",
            type(policy).__name__,
        )
