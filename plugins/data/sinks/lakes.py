"""Tables of Delta Lake, Iceberg and Lance: tasks write files, and one commit at the end makes them the table's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from shoal.data.block import Block, concat
from shoal.data.checks import need
from shoal.data.sinks.datasink import Datasink, TaskContext, WriteResult
from shoal.data.sinks.files import FileDatasink, ParquetWriter, SaveMode
from shoal.data.sources.lakes import load_iceberg
from shoal.errors import describe

_Written = tuple[Any, list[Any]]  # a schema, and what is to be committed


@attrs.frozen
class _Added:
    """A file that a task wrote to a table of Delta Lake."""

    path: str
    size: int
    rows: int
    partition: Mapping[str, str | None]


class DeltaDatasink(Datasink[_Written]):
    """Writes Parquet files into the folder of a table of Delta Lake, and adds them by one commit. Needs deltalake.

    Readers see all rows or none; what a write that fails left is no part of the table and is deleted.

    Parameters: `path` is the table, `mode` "append", "overwrite", "ignore" or "error"; `partition_by` are columns for a
    table that is new. `schema_mode="merge"` adds columns that the table lacks. `name` and `description` are of a table
    that is new. `storage_options` are deltalake's, `filesystem` is what files are written with where the path does
    not say.

    Example: `ds.write_datasink(DeltaDatasink("rides", mode="overwrite"))`
    """

    def __init__(
        self,
        path: str,
        *,
        mode: Any = SaveMode.APPEND,
        partition_by: Sequence[str] | None = None,
        storage_options: Mapping[str, str] | None = None,
        schema_mode: str | None = None,
        filesystem: Any = None,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        if schema_mode not in (None, "merge"):
            raise ValueError(f'schema_mode must be None or "merge", not {describe(schema_mode)}')
        self._uri = path
        self._mode = SaveMode.of(mode)
        self._partition_by = list(partition_by or ())
        self._options = None if storage_options is None else dict(storage_options)
        self._merges = schema_mode == "merge"
        self._about = {"name": name, "description": description}
        self._files = FileDatasink(
            path, ParquetWriter(), filesystem=filesystem, partition_cols=self._partition_by
        )
        self.skips = False

    def on_write_start(self, schema: Any = None) -> None:
        """Look whether the table is there. Raises FileExistsError as the mode says, ValueError for other partitions."""
        lake = need("deltalake", "write_delta")
        if not lake.DeltaTable.is_deltatable(self._uri, self._options):
            self._files.on_write_start()
            return
        if self._mode in (SaveMode.ERROR, SaveMode.CREATE):
            raise FileExistsError(
                f'{self._uri!r} is a table; mode="append" or "overwrite" writes there all the same'
            )
        self.skips = self._mode is SaveMode.IGNORE
        have = list(self._table().metadata().partition_columns)
        if self._partition_by and self._partition_by != have:
            raise ValueError(f"{self._uri!r} is partitioned by {have}, not by {self._partition_by}")
        self._files.partition_by(have)

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> _Written:
        """Write blocks to files; return what the commit is to add."""
        added = []
        schema = None
        kept = [block for block in blocks if block.num_columns]
        if kept:
            whole = concat(kept)
            schema = whole.schema
            for folder, number, part in self._files.parts_of(whole):
                path, size = self._files.write_part(folder, ctx.task_idx, number, part)
                added.append(_Added(path, size, part.num_rows, _values(folder)))
        return schema, added

    def on_write_complete(self, write_result: WriteResult[_Written]) -> None:
        """Commit. Raises ValueError for columns that the table lacks, and what deltalake raises."""
        import pyarrow as pa

        schemas = [schema for schema, _ in write_result.write_returns if schema is not None]
        if not schemas:
            return
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        actions = [self._action(each) for _, added in write_result.write_returns for each in added]
        lake = need("deltalake", "write_delta")
        if not lake.DeltaTable.is_deltatable(self._uri, self._options):
            given = {key: value for key, value in self._about.items() if value is not None}
            lake.DeltaTable.create(
                self._uri,
                schema,
                partition_by=self._files.partition_cols,
                storage_options=self._options,
                **given,
            )
        table = self._table()
        self._fit(lake, table, schema)
        mode = "overwrite" if self._mode is SaveMode.OVERWRITE else "append"
        table.create_write_transaction(actions, mode, table.schema(), self._files.partition_cols)
        self._files.on_write_complete(WriteResult(0, 0, []))

    def on_write_failed(self, error: BaseException) -> None:
        """Delete the files that were written."""
        self._files.on_write_failed(error)

    def describe(self) -> str:
        """Return what a person calls this sink."""
        return "Delta"

    def _table(self) -> Any:
        return need("deltalake", "write_delta").DeltaTable(self._uri, storage_options=self._options)

    def _fit(self, lake: Any, table: Any, schema: Any) -> None:
        have = {field.name for field in table.schema().fields}
        lacking = [name for name in schema.names if name not in have]
        if lacking and not self._merges:
            raise ValueError(
                f'{self._uri!r} has no column {", ".join(lacking)}; schema_mode="merge" adds what it lacks'
            )
        if lacking:
            new = lake.Schema.from_arrow(schema.empty_table().select(lacking).schema)
            table.alter.add_columns(list(new.fields))

    def _action(self, added: _Added) -> Any:
        stats = json.dumps({"numRecords": added.rows})
        return need("deltalake.transaction", "write_delta").AddAction(
            added.path, added.size, dict(added.partition), int(time.time() * 1000), True, stats
        )


def _values(folder: str) -> dict[str, str | None]:
    from urllib.parse import unquote

    pairs = (part.partition("=") for part in folder.split("/") if part)
    return {
        name: None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value) for name, _, value in pairs
    }


class IcebergDatasink(Datasink[list[str]]):
    """Writes Parquet files into the data folder of a table of Iceberg, and adds them by one commit. Needs pyiceberg.

    The table must exist and be unpartitioned. Parameters: `mode` is "append" or "overwrite", of the rows for which
    `overwrite_filter` (of pyiceberg, or its text; None: of all) holds; `snapshot_properties` are kept with the
    snapshot, `overwrite_kwargs` are further ones of pyiceberg's delete.

    Example: `ds.write_datasink(IcebergDatasink("sales.rides", {"type": "sql", "uri": "sqlite:///catalog.db"}))`
    """

    def __init__(
        self,
        table_identifier: str,
        catalog_kwargs: Mapping[str, Any],
        *,
        snapshot_properties: Mapping[str, str] | None = None,
        mode: Any = SaveMode.APPEND,
        overwrite_filter: Any = None,
        overwrite_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._mode = SaveMode.of(mode)
        if self._mode not in (SaveMode.APPEND, SaveMode.OVERWRITE):
            raise ValueError(
                f'mode must be "append" or "overwrite" for a table of Iceberg, not {describe(mode)}'
            )
        if overwrite_filter is not None and self._mode is not SaveMode.OVERWRITE:
            raise ValueError('overwrite_filter is for mode="overwrite"')
        self._identifier = table_identifier
        self._catalog = dict(catalog_kwargs)
        self._properties = dict(snapshot_properties or {})
        self._filter = overwrite_filter
        self._more = dict(overwrite_kwargs or {})
        self._files: FileDatasink | None = None
        self._schema: Any = None

    def on_write_start(self, schema: Any = None) -> None:
        """Find the table. Raises what the catalogue raises, NotImplementedError for a partitioned table."""
        table = load_iceberg(self._identifier, self._catalog)
        if table.spec().fields:
            raise NotImplementedError(
                f"{self._identifier} is partitioned; only tables without partitions are written to"
            )
        self._schema = table.schema().as_arrow()
        self._files = FileDatasink(f"{table.location().rstrip('/')}/data", ParquetWriter())
        self._files.on_write_start()

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> list[str]:
        """Write blocks to files, in the types of the table; return their paths. Raises ValueError for other columns."""
        assert self._files is not None
        return self._files.write((self._cast(block) for block in blocks if block.num_columns), ctx)

    def _cast(self, block: Block) -> Block:
        unknown = [name for name in block.column_names if name not in self._schema.names]
        if unknown:
            raise ValueError(
                f"{self._identifier} has no column {', '.join(unknown)}; it has {', '.join(self._schema.names)}"
            )
        import pyarrow as pa

        kept = [field for field in self._schema if field.name in block.column_names]
        return block.select([field.name for field in kept]).cast(
            pa.schema([field.remove_metadata() for field in kept])
        )

    def on_write_complete(self, write_result: WriteResult[list[str]]) -> None:
        """Commit. Raises what the catalogue raises."""
        assert self._files is not None
        paths = [path for paths in write_result.write_returns for path in paths]
        table = load_iceberg(self._identifier, self._catalog)
        with table.transaction() as transaction:
            if self._mode is SaveMode.OVERWRITE:
                every = need("pyiceberg.expressions", "write_iceberg", "pyiceberg").AlwaysTrue()
                wanted = every if self._filter is None else self._filter
                transaction.delete(wanted, snapshot_properties=self._properties, **self._more)
            if paths:
                transaction.add_files(paths, snapshot_properties=self._properties)
        self._files.on_write_complete(write_result)

    def on_write_failed(self, error: BaseException) -> None:
        """Delete the files that were written."""
        if self._files is not None:
            self._files.on_write_failed(error)

    def describe(self) -> str:
        """Return what a person calls this sink."""
        return "Iceberg"


class LanceDatasink(Datasink[_Written]):
    """Writes fragments of a table of Lance, and adds them by one commit. Needs pylance.

    What a write that fails left is no part of the table; Lance's own clean-up deletes it.

    Parameters: `mode` is "create", "append" or "overwrite"; `schema` an Arrow schema that rows are cast to;
    `max_rows_per_file` bounds a fragment's rows, `min_rows_per_file` is how many a task gathers at least while there
    are more.

    Example: `ds.write_datasink(LanceDatasink("rides.lance"))`
    """

    def __init__(
        self,
        uri: str,
        *,
        schema: Any = None,
        mode: str = "create",
        min_rows_per_file: int | None = 1024 * 1024,
        max_rows_per_file: int = 64 * 1024 * 1024,
        data_storage_version: str | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        if mode not in ("create", "append", "overwrite"):
            raise ValueError(f'mode must be "create", "append" or "overwrite", not {describe(mode)}')
        self._uri = uri
        self._schema = schema
        self._mode = mode
        self._least = min_rows_per_file
        self._how: dict[str, Any] = {
            "max_rows_per_file": max_rows_per_file,
            "data_storage_version": data_storage_version,
            "storage_options": None if storage_options is None else dict(storage_options),
        }
        self._read_version: int | None = None

    @property
    def min_rows_per_write(self) -> int | None:
        """How many rows one call of `write` should have at least."""
        return self._least

    def on_write_start(self, schema: Any = None) -> None:
        """Look whether the table is there. Raises FileExistsError or FileNotFoundError as the mode says."""
        lance = need("lance", "write_lance", "pylance")
        try:
            self._read_version = lance.dataset(
                self._uri, storage_options=self._how["storage_options"]
            ).version
        except (ValueError, FileNotFoundError):
            if self._mode == "append":
                raise FileNotFoundError(
                    f'there is no table {self._uri!r} to append to; mode="create" makes it'
                ) from None
            return
        if self._mode == "create":
            raise FileExistsError(
                f'{self._uri!r} is a table; mode="append" or "overwrite" writes there all the same'
            )

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> _Written:
        """Write a fragment, or several; return what the commit is to add."""
        fragments = need("lance.fragment", "write_lance", "pylance")
        kept = [block for block in blocks if block.num_rows]
        if not kept:
            return None, []
        table = concat(kept)
        if self._schema is not None:
            table = table.cast(self._schema)
        made = fragments.write_fragments(table, self._uri, schema=table.schema, mode=self._mode, **self._how)
        return table.schema, [json.dumps(each.to_json()) for each in made]

    def on_write_complete(self, write_result: WriteResult[_Written]) -> None:
        """Commit. Raises what Lance raises."""
        lance = need("lance", "write_lance", "pylance")
        schemas = [schema for schema, _ in write_result.write_returns if schema is not None]
        if not schemas:
            return
        metadata = need("lance.fragment", "write_lance", "pylance").FragmentMetadata
        fragments = [metadata.from_json(text) for _, texts in write_result.write_returns for text in texts]
        append = self._mode == "append"
        operation = (
            lance.LanceOperation.Append(fragments)
            if append
            else lance.LanceOperation.Overwrite(schemas[0], fragments)
        )
        lance.LanceDataset.commit(
            self._uri,
            operation,
            read_version=self._read_version,
            storage_options=self._how["storage_options"],
        )

    def describe(self) -> str:
        """Return what a person calls this sink."""
        return "Lance"
