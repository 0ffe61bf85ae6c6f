"""Batches as other libraries' tensors. The libraries are imported at use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.data.checks import need
from shoal.errors import describe


def to_tensors(
    batch: Mapping[str, Any], dtypes: Any, device: str, pin_memory: bool = False
) -> dict[str, Any]:
    """Return a batch of arrays as torch's tensors. Raises TypeError naming a column that is no numbers.

    Example: `to_tensors({"x": np.arange(3)}, torch.float32, "cpu")`
    """
    torch = need("torch", "a batch of tensors")
    tensors = {}
    for name, array in batch.items():
        try:
            # torch warns of arrays that it could write to and must not.
            tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        except TypeError as error:
            raise TypeError(
                f"column {name!r} of {array.dtype} cannot be a tensor: "
                "leave it out with drop_columns, or give a collate_fn"
            ) from error
        kind = dtypes.get(name) if isinstance(dtypes, Mapping) else dtypes
        tensors[name] = moved(tensor if kind is None else tensor.to(dtype=kind), device, pin_memory)
    return tensors


def moved(value: Any, device: str, pin_memory: bool = False) -> Any:
    """Return torch's tensors, or lists, tuples and mappings of them, on a device; anything else as it is.

    With `pin_memory` they lie in pinned memory first, which a GPU copies from without waiting.

    Example: `moved({"x": torch.zeros(3)}, "auto")`
    """
    torch = need("torch", "a batch of tensors")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if isinstance(value, torch.Tensor):
        held = value.pin_memory() if pin_memory else value
        return held.to(device=device, non_blocking=pin_memory)
    if isinstance(value, Mapping):
        return {name: moved(each, device, pin_memory) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(moved(each, device, pin_memory) for each in value)
    return value


def to_tf_tensors(batch: Mapping[str, Any], dtypes: Any) -> dict[str, Any]:
    """Return a batch of arrays as TensorFlow's tensors; columns of lists become ragged ones.

    Example: `to_tf_tensors({"x": np.arange(3)}, {"x": "float32"})`
    """
    tf = need("tensorflow", "a batch of TensorFlow's tensors")
    made = {}
    for name, array in batch.items():
        kind = dtypes.get(name) if isinstance(dtypes, Mapping) else dtypes
        if (
            array.dtype == object
            and len(array)
            and hasattr(array[0], "__len__")
            and not isinstance(array[0], str | bytes)
        ):
            tensor = tf.ragged.constant([list(each) for each in array])
        else:
            tensor = tf.convert_to_tensor(array)
        made[name] = tensor if kind is None else tf.cast(tensor, kind)
    return made


def to_jax_arrays(
    batch: Mapping[str, Any], dtypes: Any, paddings: Any = None, rows: int | None = None
) -> dict[str, Any]:
    """Return a batch of arrays as JAX's. With `paddings`, a value or one for each column, to `rows` rows.

    Example: `to_jax_arrays({"x": np.arange(3)}, "float32", paddings=0, rows=8)`
    """
    import numpy as np

    jnp = need("jax.numpy", "a batch of JAX's arrays")
    made = {}
    for name, array in batch.items():
        if array.dtype == object or array.dtype.kind in "US":
            raise TypeError(
                f"column {name!r} of {array.dtype} cannot be an array of JAX: leave it out with drop_columns"
            )
        kind = dtypes.get(name) if isinstance(dtypes, Mapping) else dtypes
        filler = paddings.get(name) if isinstance(paddings, Mapping) else paddings
        if filler is not None and rows is not None and len(array) < rows:
            tail = np.full((rows - len(array), *array.shape[1:]), filler, dtype=array.dtype)
            array = np.concatenate([array, tail])
        made[name] = jnp.asarray(array, dtype=kind)
    return made


def chosen(columns: str | Sequence[str]) -> Callable[[Mapping[str, Any]], Any]:
    """Return what takes one column, or a mapping of several, out of a batch.

    Example: `chosen("x")({"x": 1, "y": 2})  # 1`
    """
    if isinstance(columns, str):
        return lambda batch: _column(batch, columns)
    return lambda batch: {name: _column(batch, name) for name in columns}


def _column(batch: Mapping[str, Any], name: str) -> Any:
    if name not in batch:
        raise KeyError(f"there is no column {name!r}; there are {', '.join(batch)}")
    return batch[name]


def tf_spec(columns: str | Sequence[str], schema: Any, given: Any) -> Any:
    """Return TensorFlow's specification of batches of some columns, of an Arrow schema, unless one is given.

    Raises KeyError for a column that is not there, and TypeError for one whose type has no tensors.

    Example: `tf_spec("x", pa.schema({"x": pa.int64()}), None)`
    """
    if given is not None:
        return given
    tf = need("tensorflow", "a dataset of TensorFlow")
    if not isinstance(columns, str):
        return {name: tf_spec(name, schema, None) for name in columns}
    if columns not in schema.names:
        raise KeyError(f"there is no column {columns!r}; there are {', '.join(schema.names)}")
    kind = schema.field(columns).type
    shape = tuple(getattr(kind, "shape", ()))
    value = kind.value_type if hasattr(kind, "value_type") else kind
    try:
        dtype = tf.dtypes.as_dtype(value.to_pandas_dtype()) if str(value) != "string" else tf.string
    except TypeError as error:
        raise TypeError(f"column {columns!r} of {describe(kind)} cannot be a tensor") from error
    if hasattr(kind, "value_type") and not shape:
        return tf.RaggedTensorSpec(shape=(None, None), dtype=dtype)
    return tf.TensorSpec(shape=(None, *shape), dtype=dtype, name=columns)
