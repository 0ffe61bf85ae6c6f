"""Small functions on NumPy's arrays: layers, losses, choices as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optree
import torch

SMALL_NUMBER = 1e-6
LARGE_INTEGER = 100_000_000
MIN_LOG_NN_OUTPUT = -5
MAX_LOG_NN_OUTPUT = 2


def sigmoid(x: Any, derivative: bool = False) -> Any:
    """Return 1 / (1 + exp(-x)), or of such values its derivative.

    Example: `sigmoid(np.zeros(1))  # array([0.5])`
    """
    return x * (1 - x) if derivative else 1 / (1 + np.exp(-x))


def softmax(x: Any, axis: int = -1, epsilon: float | None = None) -> Any:
    """Return exponentials that add up to 1 along an axis, each at least `epsilon` (None: 1e-6) before.

    Example: `softmax(np.zeros(2))  # array([0.5, 0.5])`
    """
    raised = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return np.maximum(
        raised / raised.sum(axis=axis, keepdims=True), SMALL_NUMBER if epsilon is None else epsilon
    )


def relu(x: Any, alpha: float = 0.0) -> Any:
    """Return numbers, those below 0 times `alpha`.

    Example: `relu(np.array([-1.0, 1.0]))  # array([0., 1.])`
    """
    return np.maximum(x, x * alpha)


def one_hot(
    x: Any, depth: int = 0, on_value: float = 1.0, off_value: float = 0.0, dtype: Any = np.float32
) -> Any:
    """Return choices as rows of `depth` numbers (0: as many as the greatest needs).

    Example: `one_hot(np.array([1]), depth=3)  # array([[0., 1., 0.]], dtype=float32)`
    """
    choices = np.asarray(x).astype(int)
    rows = np.eye(depth or int(choices.max()) + 1, dtype=dtype)[choices]
    return (rows * (on_value - off_value) + off_value).astype(dtype)


def one_hot_multidiscrete(x: Any, depths: Sequence[int]) -> Any:
    """Return several choices, in the last dimension, as rows one behind the other.

    Example: `one_hot_multidiscrete(np.array([[0, 1]]), [2, 2])  # array([[1., 0., 0., 1.]])`
    """
    choices = np.asarray(x)
    return np.concatenate([one_hot(choices[..., n], int(depth)) for n, depth in enumerate(depths)], axis=-1)


def fc(x: Any, weights: Any, biases: Any = None, framework: str | None = None) -> Any:
    """Return a fully connected layer's values: inputs times weights and biases. torch's weights are turned.

    Example: `fc(np.ones((1, 2)), np.ones((2, 1)))  # array([[2.]])`
    """
    matrix = convert_to_numpy(weights)
    inputs = convert_to_numpy(x)
    if framework == "torch" or matrix.shape[0] != inputs.shape[-1]:
        matrix = matrix.T
    return inputs @ matrix + (0.0 if biases is None else convert_to_numpy(biases))


def lstm(
    x: Any,
    weights: Any,
    biases: Any = None,
    initial_internal_states: Any = None,
    time_major: bool = False,
    forget_bias: float = 1.0,
) -> tuple[Any, Any]:
    """Return the values and the last (c, h) of an LSTM (Hochreiter and Schmidhuber, 1997).

    Parameters: `x` is rows × steps × inputs (steps first if `time_major`); `weights` is of inputs and units one behind
    the other, for the input gate, the new values, the forget gate and the output gate.

    Example: `values, (c, h) = lstm(np.zeros((1, 3, 2)), np.zeros((6, 16)), np.zeros(16))`
    """
    steps = x if time_major else np.swapaxes(x, 0, 1)
    units = weights.shape[1] // 4
    rows = steps.shape[1]
    c, h = initial_internal_states or (np.zeros((rows, units)), np.zeros((rows, units)))
    told = []
    for step in steps:
        gates = np.concatenate([step, h], axis=1) @ weights + (0.0 if biases is None else biases)
        put_in, new, forget, out = np.split(gates, 4, axis=1)
        c = sigmoid(forget + forget_bias) * c + sigmoid(put_in) * np.tanh(new)
        h = sigmoid(out) * np.tanh(c)
        told.append(h)
    values = np.stack(told)
    return (values if time_major else np.swapaxes(values, 0, 1)), (c, h)


def huber_loss(x: Any, delta: float = 1.0) -> Any:
    """Return half of squares, beyond `delta` lines (Huber, 1964).

    Example: `huber_loss(np.array([3.0]))  # array([2.5])`
    """
    return np.where(np.abs(x) < delta, 0.5 * np.square(x), delta * (np.abs(x) - 0.5 * delta))


def l2_loss(x: Any) -> Any:
    """Return half of the sum of squares.

    Example: `l2_loss(np.array([2.0]))  # 2.0`
    """
    return np.sum(np.square(x)) / 2.0


def convert_to_numpy(x: Any, reduce_type: bool = True) -> Any:
    """Return arrays of the tensors and numbers of a structure; with `reduce_type` of 32 bits instead of 64.

    Example: `convert_to_numpy({"a": torch.zeros(2)})["a"]`
    """

    def array(item: Any) -> Any:
        if isinstance(item, torch.Tensor):
            made: Any = item.detach().cpu().numpy()
        elif isinstance(item, (int, float, np.ndarray, np.generic, bool)):
            made = np.asarray(item)
        else:
            return item
        if reduce_type and made.dtype == np.float64:
            return made.astype(np.float32)
        return made.astype(np.int32) if reduce_type and made.dtype == np.int64 else made

    return optree.tree_map(array, x)


def flatten_inputs_to_1d_tensor(
    inputs: Any, spaces_struct: Any = None, time_axis: bool = False, batch_axis: bool = True
) -> Any:
    """Return the parts of a value one behind the other; choices as rows of zeros and a one.

    Parameters: as the function of the same name for tensors; without `batch_axis` there is one value only.

    Example: `flatten_inputs_to_1d_tensor({"a": np.zeros((2, 3)), "b": np.zeros(2)}).shape  # (2, 4)`
    """
    from shoal.rllib.tensors import torch_tensors

    tensors = optree.tree_map(lambda leaf: torch.as_tensor(np.asarray(leaf)), inputs)
    if not batch_axis:
        tensors = optree.tree_map(lambda leaf: leaf.unsqueeze(0), tensors)
    flat = torch_tensors.flatten_inputs_to_1d_tensor(tensors, spaces_struct, time_axis).numpy()
    return flat if batch_axis else flat[0]


def aligned_array(size: int, dtype: Any, align: int = 64) -> Any:
    """Return an array of `size` items whose first byte has an address that `align` divides.

    Example: `aligned_array(8, np.float32).ctypes.data % 64  # 0`
    """
    count = size * np.dtype(dtype).itemsize
    raw = np.empty(count + align - 1, dtype=np.uint8)
    start = -raw.ctypes.data % align
    return raw[start : start + count].view(dtype)


def concat_aligned(items: Sequence[Any], time_major: bool | None = None) -> Any:
    """Return arrays one behind the other, in memory whose address 64 divides; along the second axis if `time_major`.

    Example: `concat_aligned([np.zeros(2), np.ones(2)])`
    """
    axis = 1 if time_major else 0
    joined = np.concatenate(items, axis=axis)
    made = aligned_array(joined.size, joined.dtype).reshape(joined.shape)
    made[...] = joined
    return made


def make_action_immutable(obj: Any) -> Any:
    """Return an action whose arrays cannot be written to.

    Example: `make_action_immutable(np.zeros(2)).flags.writeable  # False`
    """
    if isinstance(obj, np.ndarray):
        obj.setflags(write=False)
        return obj
    if isinstance(obj, dict):
        from types import MappingProxyType

        return MappingProxyType({name: make_action_immutable(each) for name, each in obj.items()})
    return tuple(map(make_action_immutable, obj)) if isinstance(obj, tuple) else obj
