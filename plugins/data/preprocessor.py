"""What all preprocessors have in common: they learn from a dataset once and then change datasets and batches alike."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs

from shoal.data.aggregate import AggregateFn
from shoal.data.block import Block, from_batch, to_batch
from shoal.data.checks import check_names
from shoal.data.preprocessors.serialization_handlers import (
    CloudPickleSerializationHandler,
    HandlerFormatName,
    PickleSerializationHandler,
)
from shoal.data.preprocessors.version_support import UnknownPreprocessorError
from shoal.data.transforms import need_columns
from shoal.errors import describe

if TYPE_CHECKING:
    from shoal.data.dataset import Dataset

SerializationFormat = HandlerFormatName
P = TypeVar("P", bound="Preprocessor")
_FORMATS = {"_transform_arrow": "pyarrow", "_transform_numpy": "numpy", "_transform_pandas": "pandas"}


class PreprocessorNotFittedException(RuntimeError):
    """A preprocessor is to transform before it has been fitted; call `fit` first.

    Example: `except PreprocessorNotFittedException: scaler.fit(ds)`
    """


class StatComputationPlan:
    """The aggregates that a fit computes, all of them in one pass over the dataset.

    Example: `self.stat_computation_plan.add_aggregator(aggregator_fn=Mean, columns=["x"])`
    """

    def __init__(self) -> None:
        self._entries: list[tuple[AggregateFn, str, Callable[[Any], Any]]] = []

    def add_aggregator(
        self,
        *,
        aggregator_fn: Callable[[str], AggregateFn],
        columns: Sequence[str],
        post_process_fn: Callable[[Any], Any] | None = None,
        post_key_fn: Callable[[str], str] | None = None,
    ) -> None:
        """Add an aggregate of each of `columns`.

        Parameters: `aggregator_fn` returns the aggregate of a column, `post_process_fn` makes the statistic of its
        value, and `post_key_fn` returns the statistic's name for a column (the aggregate's own unless given).
        """
        for column in columns:
            aggregate = aggregator_fn(column)
            key = aggregate.name if post_key_fn is None else post_key_fn(column)
            self._entries.append((aggregate, key, post_process_fn or _same))

    def reset(self) -> None:
        """Forget all aggregates."""
        self._entries.clear()

    def compute(self, dataset: Dataset) -> dict[str, Any]:
        """Return the statistics by their names. Raises ValueError for a dataset without rows."""
        if not self._entries:
            return {}
        from shoal.data.aggregate import Count

        rows = Count(alias_name="rows of the dataset")
        values = dataset.aggregate(rows, *[aggregate for aggregate, _, _ in self._entries])
        if not values[rows.name]:
            raise ValueError("there is nothing to learn from: the dataset has no rows")
        return {key: finish(values[aggregate.name]) for aggregate, key, finish in self._entries}

    def __len__(self) -> int:
        return len(self._entries)


class Preprocessor:
    """Learns from a dataset (`fit`) what it then needs to change datasets (`transform`) or batches (`transform_batch`).

    One of your own overrides `_fit`, which sets attributes or adds to `stat_computation_plan`, and exactly one of
    `_transform_pandas`, `_transform_numpy` and `_transform_arrow`, which take a batch and return one. With
    `_is_fittable = False` there is nothing to learn.

    Example:
        class Center(Preprocessor):
            def _fit(self, dataset):
                self.stat_computation_plan.add_aggregator(aggregator_fn=Mean, columns=["x"])
                return self

            def _transform_pandas(self, df):
                return df.assign(x=df["x"] - self.stats_["mean(x)"])
    """

    class FitStatus(str, enum.Enum):
        """How far a preprocessor is. A chain of which only some are fitted is partially fitted."""

        NOT_FITTABLE = "NOT_FITTABLE"
        NOT_FITTED = "NOT_FITTED"
        PARTIALLY_FITTED = "PARTIALLY_FITTED"
        FITTED = "FITTED"

    _is_fittable: ClassVar[bool] = True

    def fit_status(self) -> Preprocessor.FitStatus:
        """Return how far it is.

        Example: `scaler.fit_status() is Preprocessor.FitStatus.FITTED`
        """
        if not self._is_fittable:
            return Preprocessor.FitStatus.NOT_FITTABLE
        fitted = vars(self).get("_fitted") or self.has_stats()
        return Preprocessor.FitStatus.FITTED if fitted else Preprocessor.FitStatus.NOT_FITTED

    def has_stats(self) -> bool:
        """Return whether statistics of a fit are there, as `stats_`."""
        return "stats_" in vars(self)

    @property
    def stat_computation_plan(self) -> StatComputationPlan:
        """What the fit computes; `_fit` adds to it, and it is carried out when `_fit` has returned."""
        plan = vars(self).get("_stat_computation_plan")
        if plan is None:
            plan = self._stat_computation_plan = StatComputationPlan()
        assert isinstance(plan, StatComputationPlan)
        return plan

    def fit(self: P, ds: Dataset) -> P:
        """Learn from a dataset, in place of what was learned before, and return this preprocessor.

        Raises ValueError for a dataset without rows, KeyError for columns that are not there and TypeError for columns
        of another type than is needed; then what was learned before stays.

        Example: `StandardScaler(["x"]).fit(ds).stats_`
        """
        _check_dataset(ds)
        if self.fit_status() is Preprocessor.FitStatus.NOT_FITTABLE:
            return self
        self.stat_computation_plan.reset()
        try:
            self._fit(ds)
            if len(self.stat_computation_plan):
                self.stats_: dict[str, Any] = self._learned(self.stat_computation_plan.compute(ds))
        finally:
            self.stat_computation_plan.reset()
        self._fitted = True
        return self

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

        Example: `StandardScaler(["x"]).fit_transform(ds).take(3)`
        """
        self.fit(ds)
        return self.transform(
            ds,
            batch_size=transform_batch_size,
            num_cpus=transform_num_cpus,
            memory=transform_memory,
            concurrency=transform_concurrency,
        )

    def transform(
        self,
        ds: Dataset,
        *,
        batch_size: int | None = None,
        num_cpus: float | None = None,
        memory: float | None = None,
        concurrency: int | None = None,
    ) -> Dataset:
        """Return the dataset with this step added; it runs when rows are asked for.

        Parameters: `batch_size` in rows (None: whole blocks), `num_cpus` and `memory` (bytes) of each task, and how
        many tasks run at a time.
        Raises PreprocessorNotFittedException before a fit.

        Example: `scaler.transform(test).to_pandas()`
        """
        _check_dataset(ds)
        self._need_fitted("transform")
        options: dict[str, Any] = {"num_cpus": num_cpus, "memory": memory}
        return ds.map_batches(
            _Apply(self),
            batch_format=self.preferred_batch_format(),
            batch_size=batch_size,
            zero_copy_batch=False,
            concurrency=concurrency,
            **{name: value for name, value in options.items() if value is not None},
        )

    def transform_batch(self, data: Any) -> Any:
        """Return a batch transformed, in the format that it came in: a DataFrame, a dict of arrays or a pyarrow.Table.

        Raises PreprocessorNotFittedException before a fit, TypeError for what is no batch.

        Example: `scaler.transform_batch({"x": np.array([1.0, 2.0])})`
        """
        self._need_fitted("transform_batch")
        came = _format_of(data)
        wanted = self.preferred_batch_format()
        if came == wanted:
            return self._transformed(data)
        made = to_batch(from_batch(self._transformed(to_batch(from_batch(data), wanted))), came)
        if came == "pandas" and len(made) == len(data):
            made.index = data.index
        return made

    def get_input_columns(self) -> list[str]:
        """Return the columns that are read; empty where they are not known."""
        return list(vars(self).get("_columns", ()))

    def get_output_columns(self) -> list[str]:
        """Return the columns that are written; empty where they are not known."""
        return list(vars(self).get("_output_columns", ()))

    @classmethod
    def preferred_batch_format(cls) -> str:
        """Return the format of batches that it works on: "pyarrow", "numpy" or "pandas".

        Raises NotImplementedError for a class that has no `_transform_…`, or more than one.
        """
        found = [name for name in _FORMATS if callable(getattr(cls, name, None))]
        if len(found) != 1:
            raise NotImplementedError(
                f"{cls.__name__} must have exactly one of the methods {', '.join(_FORMATS)}; it has "
                f"{' and '.join(found) or 'none'}"
            )
        return _FORMATS[found[0]]

    def serialize(self) -> bytes | str:
        """Return this preprocessor, and what it has learned, as bytes.

        Example: `Path("scaler").write_bytes(scaler.serialize())`
        """
        return CloudPickleSerializationHandler().serialize(self)

    @staticmethod
    def deserialize(serialized: bytes | str) -> Preprocessor:
        """Return the preprocessor that `serialize` made bytes of.

        What it reads is code as well as data: never give it what a stranger sent.
        Raises ValueError for anything else, and UnknownPreprocessorError if its class is not here.

        Example: `Preprocessor.deserialize(Path("scaler").read_bytes())`
        """
        handler = PickleSerializationHandler() if isinstance(serialized, str) else None
        found = (handler or CloudPickleSerializationHandler()).deserialize(serialized)
        if isinstance(found, dict):
            return _rebuilt(found)
        if not isinstance(found, Preprocessor):
            raise ValueError(f"this is no preprocessor but {describe(found)}")
        return found

    def _fit(self, dataset: Dataset) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must have the method _fit, or _is_fittable = False")

    def _learned(self, stats: dict[str, Any]) -> dict[str, Any]:
        """Return what is kept of the statistics."""
        return stats

    def _need_fitted(self, verb: str) -> None:
        status = self.fit_status()
        if status in (Preprocessor.FitStatus.NOT_FITTED, Preprocessor.FitStatus.PARTIALLY_FITTED):
            raise PreprocessorNotFittedException(f"{self!r} must be fitted first: fit(ds), and then {verb}")

    def _transformed(self, batch: Any) -> Any:
        name = next(name for name, kind in _FORMATS.items() if kind == self.preferred_batch_format())
        return getattr(self, name)(batch)

    def __getstate__(self) -> dict[str, Any]:
        # The plan is only used during a fit, and may hold functions that plain pickle refuses.
        return {name: value for name, value in vars(self).items() if name != "_stat_computation_plan"}

    def __repr__(self) -> str:
        shown = {
            name.lstrip("_"): value
            for name, value in vars(self).items()
            if name.startswith("_") and name not in ("_fitted", "_stat_computation_plan")
        }
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class SerializablePreprocessorBase(Preprocessor):
    """A preprocessor whose bytes name its class by an identifier and a version, not by where its module lies.

    A class may be moved or renamed if it keeps its identifier (`set_preprocessor_class_id`). One of a higher version
    reads the state of a lower one in `_upgraded`; the state of a higher version is refused.

    Example: `StandardScaler.get_preprocessor_class_id()`
    """

    MAGIC_CLOUDPICKLE: ClassVar[bytes] = CloudPickleSerializationHandler.MAGIC_CLOUDPICKLE
    SERIALIZER_FORMAT_VERSION: ClassVar[int] = 1
    SerializationFormat = HandlerFormatName

    _identifiers: ClassVar[dict[str, type[SerializablePreprocessorBase]]] = {}
    _identifier: ClassVar[str]
    _version: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ours = cls.__module__.startswith("shoal.")
        cls.set_preprocessor_class_id(cls.__name__ if ours else f"{cls.__module__}.{cls.__qualname__}")

    @classmethod
    def get_preprocessor_class_id(cls) -> str:
        """Return the name under which bytes find the class."""
        return cls._identifier

    @classmethod
    def set_preprocessor_class_id(cls, identifier: str) -> None:
        """Let bytes find the class under a name."""
        cls._identifier = identifier
        cls._identifiers[identifier] = cls

    @classmethod
    def get_version(cls) -> int:
        """Return the version of what an instance's state looks like."""
        return cls._version

    @classmethod
    def set_version(cls, version: int) -> None:
        """Set the version of what an instance's state looks like."""
        cls._version = version

    def serialize(self) -> bytes | str:
        """Return this preprocessor, and what it has learned, as bytes.

        Example: `Path("scaler").write_bytes(scaler.serialize())`
        """
        return CloudPickleSerializationHandler().serialize(
            {
                "format": self.SERIALIZER_FORMAT_VERSION,
                "type": self.get_preprocessor_class_id(),
                "version": self.get_version(),
                "state": self.__getstate__(),
            }
        )

    @classmethod
    def _upgraded(cls, state: dict[str, Any], version: int) -> dict[str, Any]:
        """Return the state that an older version wrote as this version has it."""
        return state


class ColumnPreprocessor(SerializablePreprocessorBase):
    """A preprocessor that makes of each of its columns a column, in its place or under another name."""

    def __init__(self, columns: Sequence[str], output_columns: Sequence[str] | None = None) -> None:
        self._columns = check_names("columns", columns)
        if not self._columns:
            raise ValueError("columns must have at least one name")
        self._output_columns = _paired_outputs(self._columns, output_columns)

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return list(self._columns)

    @property
    def output_columns(self) -> list[str]:
        """The columns that are written, one for each that is read."""
        return list(self._output_columns)

    def _transform_arrow(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        need_columns(table, self._columns)
        made = {
            output: self._column(name, table.column(name))
            for name, output in zip(self._columns, self._output_columns, strict=True)
        }
        return with_columns(table, made)

    def _column(self, name: str, column: Any) -> Any:
        """Return what becomes of a column, as an Arrow array."""
        raise NotImplementedError


def with_columns(table: Block, made: Mapping[str, Any]) -> Block:
    """Return the table with columns added, or replaced where they are.

    Example: `with_columns(table, {"x": pa.array([1])})`
    """
    for name, column in made.items():
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    return table


def _paired_outputs(columns: Sequence[str], output_columns: Sequence[str] | None) -> list[str]:
    """Return where each column's result goes: over the column itself unless there are other names.

    Raises TypeError or ValueError for names that do not match the columns one by one.
    """
    if output_columns is None:
        return list(columns)
    names = check_names("output_columns", output_columns)
    if len(names) != len(columns):
        raise ValueError(
            f"output_columns must have a name for each of columns: {len(columns)} ({', '.join(columns)}), "
            f"not {len(names)} ({', '.join(names)})"
        )
    return names


@attrs.frozen(eq=False)
class _Apply:
    """What `map_batches` calls, with a name for plans and statistics."""

    preprocessor: Preprocessor

    @property
    def __name__(self) -> str:
        return type(self.preprocessor).__name__

    def __call__(self, batch: Any) -> Any:
        return self.preprocessor._transformed(batch)


def _same(value: Any) -> Any:
    return value


def _check_dataset(ds: Any) -> None:
    from shoal.data.dataset import Dataset

    if not isinstance(ds, Dataset):
        raise TypeError(f"a Dataset is needed, not {describe(ds)}; transform_batch takes batches")


def _format_of(data: Any) -> str:
    if isinstance(data, Mapping):
        return "numpy"
    kind = type(data).__module__.partition(".")[0]
    if kind == "pandas" and hasattr(data, "columns"):
        return "pandas"
    if kind == "pyarrow" and hasattr(data, "column_names"):
        return "pyarrow"
    raise TypeError(
        f"a batch is a pandas.DataFrame, a dict of arrays or a pyarrow.Table, not {describe(data)}; "
        "transform takes a Dataset"
    )


def _rebuilt(found: dict[str, Any]) -> Preprocessor:
    # Classes register when they are defined: those that are ours must be imported for that.
    import shoal.data.preprocessors as ours

    if not {"format", "type", "version", "state"} <= set(found):
        raise ValueError(f"this is no preprocessor but {describe(found)}")
    newest = SerializablePreprocessorBase.SERIALIZER_FORMAT_VERSION
    if found["format"] > newest:
        raise ValueError(
            f"this was written in format {found['format']}, and {newest} is the newest that is known here: update Shoal"
        )
    getattr(ours, found["type"], None)
    cls = SerializablePreprocessorBase._identifiers.get(found["type"])
    if cls is None:
        raise UnknownPreprocessorError(found["type"])
    if found["version"] > cls._version:
        raise ValueError(
            f"this {cls.__name__} is of version {found['version']}, and {cls._version} is the newest known here"
        )
    made = cls.__new__(cls)
    vars(made).update(cls._upgraded(found["state"], found["version"]))
    return made
