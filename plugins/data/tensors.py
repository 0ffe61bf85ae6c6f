"""Batches as torch's tensors. Imported where torch is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def to_tensors(batch: Mapping[str, Any], dtypes: Any, device: str) -> dict[str, Any]:
    """Return a batch of arrays as tensors. Raises TypeError naming a column that is no numbers.

    Example: `to_tensors({"x": np.arange(3)}, torch.float32, "cpu")`
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    tensors = {}
    for name, array in batch.items():
        kind = dtypes.get(name) if isinstance(dtypes, Mapping) else dtypes
        try:
            # torch warns of arrays that it could write to and must not.
            tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        except TypeError as error:
            raise TypeError(
                f"column {name!r} of {array.dtype} cannot be a tensor: "
                "leave it out with drop_columns, or give a collate_fn"
            ) from error
        tensors[name] = tensor.to(device=device, dtype=kind)
    return tensors
