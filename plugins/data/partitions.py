"""What folders' names say of files, for programs that choose files themselves."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.data.sources.paths import File, Partitioning
from shoal.errors import describe


class PartitionStyle(str, enum.Enum):
    """How folders' names hold values."""

    HIVE = "hive"  # name=value
    DIRECTORY = "dir"  # value


class PathPartitionParser:
    """Reads the values of a path's folders.

    Example: `PathPartitionParser.of("dir", "logs", ["year"])("logs/2024/a.csv")  # {"year": "2024"}`
    """

    def __init__(self, partitioning: Partitioning) -> None:
        if not isinstance(partitioning, Partitioning):
            raise TypeError(f"a Partitioning is needed, not {describe(partitioning)}")
        self._partitioning = partitioning

    @staticmethod
    def of(
        style: PartitionStyle | str = PartitionStyle.HIVE,
        base_dir: str | None = None,
        field_names: Sequence[str] | None = None,
        field_types: Mapping[str, Callable[[str], Any]] | None = None,
        filesystem: Any = None,
    ) -> PathPartitionParser:
        """Return a parser; the parameters are those of `Partitioning`."""
        return PathPartitionParser(Partitioning(style, base_dir, field_names, field_types, filesystem))

    def __call__(self, path: str) -> dict[str, Any]:
        """Return a path's values by their names; none for a path outside of the base. Raises ValueError."""
        base = self._partitioning.normalized_base_dir
        if base and not path.startswith(base.rstrip("/") + "/"):
            return {}
        return self._partitioning.of(path, base)

    def evaluate_predicate_on_partition(self, path: str, predicate: Any) -> bool | None:
        """Tell whether an expression (`col("year") == "2024"`) holds for a path; None if it needs other columns.

        Example: `parser.evaluate_predicate_on_partition("logs/year=2024/a.csv", col("year") == "2024")`
        """
        import pyarrow as pa

        values = self(path)
        if not predicate.columns() <= set(values):
            return None
        verdict = predicate.evaluate(pa.table({name: [value] for name, value in values.items()}))
        found = verdict if isinstance(verdict, pa.Scalar) else verdict[0]
        return bool(found.as_py())

    @property
    def scheme(self) -> Partitioning:
        """What the folders' names are taken for."""
        return self._partitioning


class PathPartitionFilter:
    """Says of paths, by their folders' values, whether to read them: for `partition_filter=` of readers of files.

    Example: `read_csv("logs/", partition_filter=PathPartitionFilter.of(lambda values: values["year"] == "2024"))`
    """

    def __init__(
        self, path_partition_parser: PathPartitionParser, filter_fn: Callable[[dict[str, Any]], bool]
    ) -> None:
        if not callable(filter_fn):
            raise TypeError(
                f"filter_fn must be a function of a partition's values, not {describe(filter_fn)}"
            )
        self._parser = path_partition_parser
        self._wanted = filter_fn

    @staticmethod
    def of(
        filter_fn: Callable[[dict[str, Any]], bool],
        style: PartitionStyle | str = PartitionStyle.HIVE,
        base_dir: str | None = None,
        field_names: Sequence[str] | None = None,
        field_types: Mapping[str, Callable[[str], Any]] | None = None,
        filesystem: Any = None,
    ) -> PathPartitionFilter:
        """Return a filter; the further parameters are those of `Partitioning`."""
        parser = PathPartitionParser.of(style, base_dir, field_names, field_types, filesystem)
        return PathPartitionFilter(parser, filter_fn)

    def __call__(self, paths: Sequence[str]) -> list[str]:
        """Return the paths to read."""
        return [path for path in paths if self.apply(path)]

    def apply(self, path: str) -> bool:
        """Tell whether to read a path."""
        return bool(self._wanted(self._parser(path)))

    @property
    def parser(self) -> PathPartitionParser:
        """What reads the values."""
        return self._parser


def wanted_files(files: Sequence[File], wanted: Any) -> list[File]:
    """Return the files that a filter wants: a PathPartitionFilter, a function of a partition's values, or None.

    Example: `wanted_files(files, lambda values: values["year"] == "2024")`
    """
    if wanted is None:
        return list(files)
    if isinstance(wanted, PathPartitionFilter):
        return [file for file in files if wanted.apply(file.path)]
    return [file for file in files if wanted(file.partition)]
