"""Encoders: categories as numbers or vectors. A null is an error, as it is no category: fill it first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.block import Block, to_column
from shoal.data.checks import check_count
from shoal.data.preprocessor import (
    ColumnPreprocessor,
    SerializablePreprocessorBase,
    with_columns,
)
from shoal.data.preprocessors.statistics import ValueCounts, hashable, is_list, plain, storage, without_nulls
from shoal.data.transforms import need_columns
from shoal.errors import describe

if TYPE_CHECKING:
    from shoal.data.dataset import Dataset


class _Encoder(ColumnPreprocessor):
    """What knows the categories of columns: `stats_["unique_values(x)"]` has each one's number, in their order."""

    _elements = False  # whether the values of lists are categories, rather than the lists

    def _fit(self, dataset: Dataset) -> Any:
        for name in self._columns:
            self.stat_computation_plan.add_aggregator(
                aggregator_fn=partial(ValueCounts, elements=self._elements),
                post_process_fn=partial(_numbered, most=self._most(name)),
                post_key_fn=_key,
                columns=[name],
            )
        return self

    def _learned(self, stats: dict[str, Any]) -> dict[str, Any]:
        for key, values in stats.items():
            if not values:
                raise ValueError(f"{key} is empty: the column has no value in any row")
        return stats

    def _most(self, name: str) -> int | None:
        return None

    def _numbers_of(self, name: str) -> dict[Any, int]:
        known: dict[Any, int] = self.stats_[_key(name)]
        return known


class _LimitedEncoder(_Encoder):
    def __init__(
        self,
        columns: Sequence[str],
        *,
        max_categories: Mapping[str, int] | None = None,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        self._max_categories = dict(max_categories or {})
        for name, most in self._max_categories.items():
            if name not in self._columns:
                raise ValueError(
                    f"max_categories names {name!r}, which is none of {', '.join(self._columns)}"
                )
            check_count(f"max_categories[{name!r}]", most, optional=False)

    @property
    def max_categories(self) -> dict[str, int]:
        """How many categories are kept, the most frequent ones, for columns that have such a limit."""
        return dict(self._max_categories)

    def _most(self, name: str) -> int | None:
        return self._max_categories.get(name)


class OneHotEncoder(_LimitedEncoder):
    """Replaces each value by a vector with a 1 in the place of its category and 0 elsewhere.

    A list is one value. What the fit did not see, or `max_categories` left out, is all 0.
    Raises ValueError for nulls, at the fit and later.

    Example: `OneHotEncoder(["color"], max_categories={"color": 10}).fit_transform(ds)`
    """

    def safe_get(self, v: Any, stats: Mapping[Any, int]) -> int:
        """Return the number of a category, lists included; -1 for one that is not known.

        Example: `encoder.safe_get("red", encoder.stats_["unique_values(color)"])`
        """
        return stats.get(hashable(v.tolist() if isinstance(v, np.ndarray) else v), -1)

    def _column(self, name: str, column: Any) -> Any:
        known = self._numbers_of(name)
        places = _places(name, column, known)
        made = np.zeros((len(places), len(known)), dtype=np.uint8)
        seen = np.flatnonzero(places >= 0)
        made[seen, places[seen]] = 1
        return to_column(name, made)


class MultiHotEncoder(_LimitedEncoder):
    """Replaces each list by a vector that says how often each category is in it; a plain value is a list of one.

    What the fit did not see, or `max_categories` left out, is not counted.
    Raises ValueError for nulls, at the fit and later.

    Example: `MultiHotEncoder(["genres"]).fit_transform(ds)`
    """

    _elements = True

    def _column(self, name: str, column: Any) -> Any:
        known = self._numbers_of(name)
        column = storage(column)
        count = len(column)
        rows = np.arange(count)
        if is_list(column.type):
            column = without_nulls(name, column, "transform")
            rows = np.repeat(rows, pc.list_value_length(column).to_numpy())
            column = pc.list_flatten(column)
        places = _places(name, column, known)
        made = np.zeros((count, len(known)), dtype=np.int64)
        seen = places >= 0
        np.add.at(made, (rows[seen], places[seen]), 1)
        return to_column(name, made)


class OrdinalEncoder(_Encoder):
    """Replaces each value by the number of its category, from 0 on in the order of the categories.

    With `encode_lists` the values of lists are replaced one by one, without it a list is one value. What the fit did
    not see becomes null.
    Raises ValueError for nulls, at the fit and later.

    Example: `OrdinalEncoder(["size"]).fit_transform(ds)`
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        encode_lists: bool = True,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        self._encode_lists = encode_lists
        self._elements = encode_lists

    @property
    def encode_lists(self) -> bool:
        """Whether the values of lists are replaced one by one."""
        return self._encode_lists

    def _column(self, name: str, column: Any) -> Any:
        known = self._numbers_of(name)
        column = storage(column)
        if not (is_list(column.type) and self._encode_lists):
            return _or_null(_places(name, column, known))
        column = without_nulls(name, column, "transform")
        values = _or_null(_places(name, pc.list_flatten(column), known))
        lengths = pc.list_value_length(column).to_numpy()
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), values)


class LabelEncoder(SerializablePreprocessorBase):
    """Replaces the values of one column by the numbers of their categories; `inverse_transform` gives them back.

    Parameters: the numbers go over `label_column` unless `output_column` names another. What the fit did not see
    becomes null.
    Raises ValueError for nulls, at the fit and later.

    Example: `LabelEncoder("species").fit_transform(ds)`
    """

    def __init__(self, label_column: str, *, output_column: str | None = None) -> None:
        for name in (label_column, output_column or label_column):
            if not isinstance(name, str):
                raise TypeError(f"a label encoder takes the name of one column, not {describe(name)}")
        self._columns = [label_column]
        self._output_columns = [output_column or label_column]

    @property
    def label_column(self) -> str:
        """The column that is read."""
        return self._columns[0]

    @property
    def output_column(self) -> str:
        """The column that is written."""
        return self._output_columns[0]

    def inverse_transform(self, ds: Dataset) -> Dataset:
        """Return the dataset with `label_column` made again of the numbers in `output_column`.

        A number that stands for no category is an error; null stays null.
        Raises PreprocessorNotFittedException before a fit.

        Example: `encoder.inverse_transform(predicted)`
        """
        self._need_fitted("inverse_transform")
        values = pa.array(list(self.stats_[_key(self.label_column)]))
        return ds.map_batches(_Decode(self.label_column, self.output_column, values), batch_format="pyarrow")

    def _fit(self, dataset: Dataset) -> Any:
        self.stat_computation_plan.add_aggregator(
            aggregator_fn=ValueCounts, post_process_fn=_numbered, post_key_fn=_key, columns=self._columns
        )
        return self

    def _transform_arrow(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        need_columns(table, self._columns)
        places = _places(
            self.label_column, table.column(self.label_column), self.stats_[_key(self.label_column)]
        )
        return with_columns(table, {self.output_column: _or_null(places)})


class _Decode:
    __name__ = "LabelDecoder"

    def __init__(self, label: str, encoded: str, values: Any) -> None:
        self._label, self._encoded, self._values = label, encoded, values

    def __call__(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        need_columns(table, [self._encoded])
        try:
            places = table.column(self._encoded).cast(pa.int64())
            made = self._values.take(places.combine_chunks())
        except (pa.ArrowException, IndexError) as error:
            raise ValueError(
                f"column {self._encoded!r} must have numbers of categories, from 0 to {len(self._values) - 1}: {error}"
            ) from error
        return with_columns(table, {self._label: made})


class Categorizer(ColumnPreprocessor):
    """Makes columns categorical: Arrow's dictionaries, which are pandas' categories.

    Parameters: `dtypes` gives a `pandas.CategoricalDtype` for some columns; the categories of the others are what the
    fit sees, in order. Null stays null, and what is no category becomes null.
    Raises ValueError for `dtypes` of other columns.

    Example: `Categorizer(["color"], dtypes={"color": pd.CategoricalDtype(["red", "blue"])}).fit_transform(ds)`
    """

    def __init__(
        self,
        columns: Sequence[str],
        dtypes: Mapping[str, Any] | None = None,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        self._dtypes = dict(dtypes or {})
        for name, kind in self._dtypes.items():
            if name not in self._columns:
                raise ValueError(f"dtypes names {name!r}, which is none of {', '.join(self._columns)}")
            if getattr(kind, "categories", None) is None:
                raise TypeError(
                    f"dtypes[{name!r}] must be a pandas.CategoricalDtype with categories, not {describe(kind)}"
                )

    @property
    def dtypes(self) -> dict[str, Any]:
        """The types that were given."""
        return dict(self._dtypes)

    def _fit(self, dataset: Dataset) -> Any:
        self.stat_computation_plan.add_aggregator(
            aggregator_fn=lambda name: ValueCounts(name, skip_nulls=True),
            post_process_fn=_category_type,
            post_key_fn=str,
            columns=[name for name in self._columns if name not in self._dtypes],
        )
        if not len(self.stat_computation_plan):
            self.stats_ = dict(self._dtypes)
        return self

    def _learned(self, stats: dict[str, Any]) -> dict[str, Any]:
        return {**self._dtypes, **stats}

    def _column(self, name: str, column: Any) -> Any:
        kind = self.stats_[name]
        categories = pa.array(kind.categories, from_pandas=True)
        column, categories = _alike(name, plain(column), categories)
        places = pc.index_in(column, value_set=categories)
        chunks = places.chunks if isinstance(places, pa.ChunkedArray) else [places]
        made = pa.dictionary(pa.int32(), categories.type, ordered=bool(kind.ordered))
        return pa.chunked_array(
            [
                pa.DictionaryArray.from_arrays(chunk, categories, ordered=bool(kind.ordered))
                for chunk in chunks
            ],
            made,
        )


def _key(name: str) -> str:
    return f"unique_values({name})"


def _numbered(counts: Mapping[Any, int], most: int | None = None) -> dict[Any, int]:
    kept = sorted(counts, key=lambda value: (-counts[value], value))[:most]
    return {value: number for number, value in enumerate(sorted(kept))}


def _category_type(counts: Mapping[Any, int]) -> Any:
    import pandas as pd

    return pd.CategoricalDtype(sorted(counts))


def _places(name: str, column: Any, known: Mapping[Any, int]) -> Any:
    """The number of each value's category as an array; -1 for what is not known."""
    column = without_nulls(name, storage(column), "transform")
    if is_list(column.type) or any(isinstance(value, tuple) for value in known):
        places = [known.get(hashable(value), -1) for value in column.to_pylist()]
        return np.asarray(places, dtype=np.int64)
    column, values = _alike(name, column, pa.array(list(known)))
    return pc.index_in(column, value_set=values).fill_null(-1).to_numpy().astype(np.int64)


def _alike(name: str, column: Any, values: Any) -> tuple[Any, Any]:
    """A column and the categories in one type. Raises TypeError if there is none."""
    if column.type.equals(values.type):
        return column, values
    try:
        return column, values.cast(column.type)
    except pa.ArrowException:
        pass
    try:
        return column.cast(values.type), values
    except pa.ArrowException as error:
        raise TypeError(
            f"column {name!r} is of {column.type}, but was of {values.type} when the categories were learned"
        ) from error


def _or_null(places: Any) -> Any:
    return pa.array(places, mask=places < 0)
