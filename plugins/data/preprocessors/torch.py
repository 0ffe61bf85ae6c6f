"""Transforms of torchvision as a preprocessor; torch is imported by the transform, not here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from shoal.data.block import to_column, to_numpy
from shoal.data.preprocessor import ColumnPreprocessor
from shoal.data.preprocessors.statistics import is_list
from shoal.errors import describe


class TorchVisionPreprocessor(ColumnPreprocessor):
    """Applies a transform of torchvision (or any function of arrays) to columns of images.

    Parameters: `transform` takes an array and returns a tensor of torch or an array; with `batched` it takes the
    column's array of all images, which is faster where the transform can. There is nothing to fit.
    Raises TypeError if it returns anything else, ValueError if the number of images changes.

    Example: `TorchVisionPreprocessor(["image"], transforms.ToTensor()).transform(ds)`
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        transform: Callable[[Any], Any],
        output_columns: Sequence[str] | None = None,
        batched: bool = False,
    ) -> None:
        super().__init__(columns, output_columns)
        if not callable(transform):
            raise TypeError(f"transform must be a function of an image, not {describe(transform)}")
        self._torchvision_transform = transform
        self._batched = batched

    @property
    def torchvision_transform(self) -> Callable[[Any], Any]:
        """The transform that is applied."""
        return self._torchvision_transform

    @property
    def batched(self) -> bool:
        """Whether it takes all images of a batch at once."""
        return self._batched

    def _column(self, name: str, column: Any) -> Any:
        images = to_numpy(column)
        if is_list(column.type):
            images = [np.asarray(image) for image in images]
        elif not images.flags.writeable:
            images = images.copy()  # torch warns of arrays that it could write to and must not
        if self._batched:
            made = self._array(self._torchvision_transform(images))
        else:
            made = [self._array(self._torchvision_transform(image)) for image in images]
        if len(made) != len(images):
            raise ValueError(f"the transform made {len(made)} of {len(images)} images of column {name!r}")
        return to_column(name, made)

    def _array(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value
        if type(value).__module__.partition(".")[0] in ("torch", "torchvision"):
            return value.detach().cpu().numpy()
        raise TypeError(f"a transform must return a tensor or an array, not {describe(value)}")
