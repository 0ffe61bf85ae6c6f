"""Names of tables to where they lie: an organisation's catalogue, behind a small interface."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import attrs

from shoal.errors import describe


class ReaderFormat(enum.Enum):
    """What a table is made of."""

    DELTA = "delta"
    ICEBERG = "iceberg"
    PARQUET = "parquet"


class CatalogAccessMode(enum.Enum):
    """What is to be done with a table: a catalogue may give credentials for no more."""

    READ = "read"
    WRITE = "write"


@attrs.frozen(kw_only=True)
class ResolvedSource:
    """Where a table lies: a path with what opens it, or (for Iceberg) an identifier in a catalogue of its own."""

    path: str | None = None
    filesystem: Any = None
    storage_options: Mapping[str, str] | None = None
    catalog_kwargs: Mapping[str, Any] | None = None
    table_identifier: str | None = None
    data_format: ReaderFormat | None = None


class Catalog(ABC):
    """Resolves names of tables. Give one as `catalog=` to readers and writers of tables.

    Example:
        class Folders(Catalog):
            def resolve(self, table, reader, mode): return ResolvedSource(path=f"/tables/{table.replace('.', '/')}")
        shoal.data.read_delta("sales.rides", catalog=Folders())
    """

    @abstractmethod
    def resolve(self, table: str, reader: ReaderFormat, mode: CatalogAccessMode) -> ResolvedSource:
        """Return where a table lies, for a reader or writer of a format. Raises LookupError for an unknown one."""


def resolved(
    catalog: Catalog | None,
    table: Any,
    reader: ReaderFormat,
    mode: CatalogAccessMode = CatalogAccessMode.READ,
) -> ResolvedSource:
    """Return where a table lies; without a catalogue at the path that was given. Raises TypeError or ValueError.

    Example: `resolved(None, "/tables/rides", ReaderFormat.DELTA).path`
    """
    if catalog is None:
        return ResolvedSource(path=table, table_identifier=table)
    if not isinstance(catalog, Catalog):
        raise TypeError(f"a Catalog is needed, not {describe(catalog)}")
    found = catalog.resolve(table, reader, mode)
    if found.data_format not in (None, reader):
        raise ValueError(f"{table} is {found.data_format.value}, not {reader.value}")
    return found
