"""The chain: several preprocessors, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.data.block import from_batch, to_batch
from shoal.data.preprocessor import Preprocessor, SerializablePreprocessorBase
from shoal.errors import describe

if TYPE_CHECKING:
    from shoal.data.dataset import Dataset


class Chain(SerializablePreprocessorBase):
    """Applies preprocessors in order; each is fitted on what those before it make of the dataset.

    Raises ValueError without any, TypeError for what is no preprocessor.

    Example: `Chain(SimpleImputer(["x"]), StandardScaler(["x"])).fit_transform(ds)`
    """

    def __init__(self, *preprocessors: Preprocessor) -> None:
        if not preprocessors:
            raise ValueError("a chain needs at least one preprocessor")
        for each in preprocessors:
            if not isinstance(each, Preprocessor):
                raise TypeError(f"a chain is made of preprocessors, not of {describe(each)}")
        self._preprocessors = preprocessors

    @property
    def preprocessors(self) -> tuple[Preprocessor, ...]:
        """The preprocessors, in order."""
        return self._preprocessors

    def fit_status(self) -> Preprocessor.FitStatus:
        """Return how far it is: fitted, if all are that need it."""
        status = Preprocessor.FitStatus
        found = [each for one in self._preprocessors if (each := one.fit_status()) is not status.NOT_FITTABLE]
        if not found:
            return status.NOT_FITTABLE
        if all(each is status.FITTED for each in found):
            return status.FITTED
        return (
            status.NOT_FITTED if all(each is status.NOT_FITTED for each in found) else status.PARTIALLY_FITTED
        )

    def has_stats(self) -> bool:
        """Return whether statistics of a fit are there, in any of the preprocessors."""
        return any(each.has_stats() for each in self._preprocessors)

    def fit_transform(
        self,
        ds: Dataset,
        *,
        transform_num_cpus: float | None = None,
        transform_memory: float | None = None,
        transform_batch_size: int | None = None,
        transform_concurrency: int | None = None,
    ) -> Dataset:
        """Learn from a dataset and return it transformed. The parameters are those of `transform`.

        Example: `Chain(SimpleImputer(["x"]), StandardScaler(["x"])).fit_transform(ds)`
        """
        for each in self._preprocessors:
            ds = each.fit_transform(
                ds,
                transform_num_cpus=transform_num_cpus,
                transform_memory=transform_memory,
                transform_batch_size=transform_batch_size,
                transform_concurrency=transform_concurrency,
            )
        return ds

    def get_input_columns(self) -> list[str]:
        """Return the columns that are read, but for those that one before writes."""
        read: dict[str, None] = {}
        written: set[str] = set()
        for each in self._preprocessors:
            read.update(dict.fromkeys(name for name in each.get_input_columns() if name not in written))
            written.update(each.get_output_columns())
        return list(read)

    def get_output_columns(self) -> list[str]:
        """Return the columns that are written by any."""
        names = [name for each in self._preprocessors for name in each.get_output_columns()]
        return list(dict.fromkeys(names))

    def _fit(self, dataset: Dataset) -> Any:
        for each in self._preprocessors[:-1]:
            dataset = each.fit_transform(dataset)
        self._preprocessors[-1].fit(dataset)
        return self

    def _transform_arrow(self, batch: Any) -> Any:
        for each in self._preprocessors:
            batch = from_batch(each._transformed(to_batch(batch, each.preferred_batch_format())))
        return batch
