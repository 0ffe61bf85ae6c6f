"""Tables of Delta Lake, Iceberg and Lance: snapshots of many files, each task reads some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from shoal.data.block import Block
from shoal.data.checks import need
from shoal.data.sources.datasource import BlockMetadata, Datasource, ReadTask
from shoal.data.sources.memory import cut
from shoal.data.sources.paths import FileShuffleConfig
from shoal.data.tasks import SOURCE


@attrs.frozen(eq=False)
class DeltaDatasource(Datasource):
    """A version of a table of Delta Lake. Columns and rows that later steps leave out stay unread. Needs deltalake.

    Example: `read_datasource(DeltaDatasource("rides", version=3))`
    """

    path: str
    version: int | None = None
    storage_options: Mapping[str, str] | None = None
    columns: tuple[str, ...] | None = None
    expression: Any = None
    include_paths: bool = False
    filesystem: Any = None
    shuffle: FileShuffleConfig | None = None
    executions: list[int] = attrs.field(factory=lambda: [0])  # how many there were; shared by narrowed copies

    @classmethod
    def at(cls, path: str, version: Any = None, **how: Any) -> DeltaDatasource:
        """Return the source of a version (None: the newest that there is now); all its reads see the same one."""
        options = how.get("storage_options")
        table = need("deltalake", "read_delta").DeltaTable(
            path, storage_options=None if options is None else dict(options)
        )
        if version is not None:
            table.load_as_version(version)
        return cls(path, table.version(), **how)

    def dataset(self) -> Any:
        """Return pyarrow's dataset of the version."""
        options = None if self.storage_options is None else dict(self.storage_options)
        table = need("deltalake", "read_delta").DeltaTable(
            self.path, version=self.version, storage_options=options
        )
        return table.to_pyarrow_dataset(filesystem=self.filesystem)

    def estimate_inmemory_data_size(self) -> int | None:
        """Nothing is known before files are opened."""
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return stretches of the version's files."""
        paths = [each.path for each in self.dataset().get_fragments()]
        if self.shuffle is not None:
            seed = self.shuffle.get_seed(self.executions[0])
            self.executions[0] += 1
            paths = [paths[place] for place in np.random.default_rng(seed).permutation(len(paths))]
        return [
            ReadTask(
                _DeltaFiles(self, tuple(paths[start:stop])), BlockMetadata(input_files=paths[start:stop])
            )
            for start, stop in cut(len(paths), parallelism)
        ]

    def project(self, columns: Sequence[str]) -> DeltaDatasource:
        """Return the same source with these columns only."""
        return attrs.evolve(self, columns=tuple(columns))

    def restrict(self, expression: Any) -> DeltaDatasource:
        """Return the same source with the rows only for which an Arrow expression holds."""
        both = expression if self.expression is None else self.expression & expression
        return attrs.evolve(self, expression=both)

    def describe(self) -> str:
        """Return what a person calls this source."""
        columns = "" if self.columns is None else f", columns: {', '.join(self.columns)}"
        where = "" if self.expression is None else f", where {self.expression}"
        return f"Delta(version {self.version}{columns}{where})"


@attrs.frozen(eq=False)
class _DeltaFiles:
    source: DeltaDatasource
    paths: tuple[str, ...]

    def __call__(self) -> Iterator[Block]:
        from pyarrow import dataset as ds

        source, whole = self.source, self.source.dataset()
        fragments = {each.path: each for each in whole.get_fragments()}
        for path in self.paths:
            SOURCE.set(path)
            fragment = fragments[path]
            part = ds.FileSystemDataset([fragment], whole.schema, whole.format, whole.filesystem)
            wanted = source.columns
            columns = None if wanted is None else [name for name in wanted if name in whole.schema.names]
            for batch in part.to_batches(columns=columns, filter=source.expression, use_threads=False):
                table = pa.Table.from_batches([batch])
                if source.include_paths and (wanted is None or "path" in wanted):
                    table = table.append_column("path", pa.repeat(pa.scalar(fragment.path), table.num_rows))
                yield table if wanted is None else table.select(list(wanted))


@attrs.frozen(eq=False)
class LanceDatasource(Datasource):
    """A version of a table of Lance. Needs pylance.

    Parameters: `filter` is SQL text or an Arrow expression, `scanner_options` are further ones of Lance's scanner.

    Example: `read_datasource(LanceDatasource("rides.lance", columns=("id",)))`
    """

    uri: str
    version: int | str | None = None
    columns: tuple[str, ...] | None = None
    filter: Any = None
    storage_options: Mapping[str, str] | None = None
    scanner_options: Mapping[str, Any] = attrs.field(factory=dict)

    def open(self, version: Any = None) -> Any:
        """Return Lance's dataset."""
        options = None if self.storage_options is None else dict(self.storage_options)
        lance = need("lance", "read_lance", "pylance")
        return lance.dataset(self.uri, version=version or self.version, storage_options=options)

    def estimate_inmemory_data_size(self) -> int | None:
        """Nothing is known before fragments are opened."""
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return stretches of the version's fragments."""
        opened = self.open()
        numbers = [each.fragment_id for each in opened.get_fragments()]
        return [
            ReadTask(_LanceFragments(self, opened.version, tuple(numbers[start:stop])))
            for start, stop in cut(len(numbers), parallelism)
        ]

    def project(self, columns: Sequence[str]) -> LanceDatasource:
        """Return the same source with these columns only."""
        return attrs.evolve(self, columns=tuple(columns))

    def describe(self) -> str:
        """Return what a person calls this source."""
        return "Lance"


@attrs.frozen(eq=False)
class _LanceFragments:
    source: LanceDatasource
    version: int
    numbers: tuple[int, ...]

    def __call__(self) -> Iterator[Block]:
        source, opened = self.source, self.source.open(self.version)
        columns = None if source.columns is None else list(source.columns)
        scanner = opened.scanner(
            columns=columns,
            filter=source.filter,
            fragments=[opened.get_fragment(number) for number in self.numbers],
            **source.scanner_options,
        )
        for batch in scanner.to_batches():
            yield pa.Table.from_batches([batch])


@attrs.frozen(eq=False)
class IcebergDatasource(Datasource):
    """A snapshot of a table of Iceberg. Needs pyiceberg.

    Parameters: `catalog_kwargs` are those of pyiceberg.catalog.load_catalog (with "name"), `row_filter` and
    `selected_fields` are of pyiceberg's scan, as are `scan_kwargs`; `snapshot_id` None is the newest.

    Example: `read_datasource(IcebergDatasource("sales.rides", {"type": "sql", "uri": "sqlite:///catalog.db"}))`
    """

    table_identifier: str
    catalog_kwargs: Mapping[str, Any]
    row_filter: Any = None
    selected_fields: tuple[str, ...] = ("*",)
    snapshot_id: int | None = None
    scan_kwargs: Mapping[str, Any] = attrs.field(factory=dict)

    def table(self) -> Any:
        """Return pyiceberg's table."""
        return load_iceberg(self.table_identifier, self.catalog_kwargs)

    def estimate_inmemory_data_size(self) -> int | None:
        """Nothing is known before files are opened."""
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return stretches of the snapshot's files."""
        table = self.table()
        more = {} if self.row_filter is None else {"row_filter": self.row_filter}
        scan = table.scan(
            selected_fields=self.selected_fields, snapshot_id=self.snapshot_id, **more, **self.scan_kwargs
        )
        files = list(scan.plan_files())
        return [
            ReadTask(
                _IcebergFiles(
                    table.metadata, table.io, scan.projection(), scan.row_filter, tuple(files[start:stop])
                ),
                BlockMetadata(input_files=[each.file.file_path for each in files[start:stop]]),
            )
            for start, stop in cut(len(files), parallelism)
        ]

    def project(self, columns: Sequence[str]) -> IcebergDatasource:
        """Return the same source with these columns only."""
        return attrs.evolve(self, selected_fields=tuple(columns))

    def describe(self) -> str:
        """Return what a person calls this source."""
        return "Iceberg"


@attrs.frozen(eq=False)
class _IcebergFiles:
    metadata: Any
    io: Any
    projection: Any
    row_filter: Any
    files: tuple[Any, ...]

    def __call__(self) -> Iterator[Block]:
        scan = need("pyiceberg.io.pyarrow", "read_iceberg", "pyiceberg").ArrowScan(
            self.metadata, self.io, self.projection, self.row_filter
        )
        for batch in scan.to_record_batches(list(self.files)):
            yield pa.Table.from_batches([batch])


def load_iceberg(table_identifier: str, catalog_kwargs: Mapping[str, Any]) -> Any:
    """Return a table of pyiceberg. Raises what the catalogue raises, and ImportError without pyiceberg.

    Example: `load_iceberg("sales.rides", {"type": "sql", "uri": "sqlite:///catalog.db"})`
    """
    how = dict(catalog_kwargs)
    load = need("pyiceberg.catalog", "a table of Iceberg", "pyiceberg").load_catalog
    return load(how.pop("name", "default"), **how).load_table(table_identifier)
