"""Data for machine learning: rows that stream from files through functions to files and loops, in bounded memory.

Written on the public API alone. Names are imported when they are first used; most need the extra `data`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.data import aggregate, expressions, preprocessors
    from shoal.data.aggregate import AggregateFn
    from shoal.data.catalogs import Catalog, CatalogAccessMode, ReaderFormat, ResolvedSource
    from shoal.data.compute import ActorPoolStrategy, TaskPoolStrategy
    from shoal.data.context import DataContext, ExecutionOptions
    from shoal.data.dataset import Dataset, GroupedData, MaterializedDataset
    from shoal.data.expressions import col, lit
    from shoal.data.making import (
        from_arrow,
        from_arrow_refs,
        from_blocks,
        from_daft,
        from_dask,
        from_huggingface,
        from_items,
        from_modin,
        from_numpy,
        from_numpy_refs,
        from_pandas,
        from_pandas_refs,
        from_polars,
        from_spark,
        from_tf,
        from_torch,
        range,  # noqa: A004
        range_tensor,
    )
    from shoal.data.mixing import MixStoppingCondition
    from shoal.data.preprocessor import Preprocessor
    from shoal.data.quarantine import Quarantine
    from shoal.data.random_access_dataset import RandomAccessDataset
    from shoal.data.reading import (
        read_audio,
        read_avro,
        read_binary_files,
        read_clickhouse,
        read_csv,
        read_datasource,
        read_delta,
        read_iceberg,
        read_images,
        read_json,
        read_lance,
        read_mcap,
        read_mongo,
        read_numpy,
        read_orc,
        read_parquet,
        read_snowflake,
        read_sql,
        read_text,
        read_tfrecords,
        read_videos,
        read_webdataset,
        read_zarr,
    )
    from shoal.data.resources import ExecutionResources
    from shoal.data.schema import Schema
    from shoal.data.seeds import RandomSeedConfig
    from shoal.data.sinks.clickhouse import ClickHouseTableSettings
    from shoal.data.sinks.datasink import Datasink, TaskContext, WriteResult
    from shoal.data.sinks.files import SaveMode, SinkMode
    from shoal.data.sinks.own_files import BlockBasedFileDatasink, RowBasedFileDatasink
    from shoal.data.sources.datasource import BlockMetadata, Datasource, ReadTask
    from shoal.data.sources.paths import FileShuffleConfig, Partitioning
    from shoal.data.splitting import DataIterator
    from shoal.data.summary import DatasetSummary

__all__ = [
    "ActorPoolStrategy",
    "AggregateFn",
    "BlockBasedFileDatasink",
    "BlockMetadata",
    "Catalog",
    "CatalogAccessMode",
    "ClickHouseTableSettings",
    "DataContext",
    "DataIterator",
    "Dataset",
    "DatasetSummary",
    "Datasink",
    "Datasource",
    "ExecutionOptions",
    "ExecutionResources",
    "FileShuffleConfig",
    "GroupedData",
    "MaterializedDataset",
    "MixStoppingCondition",
    "Partitioning",
    "Preprocessor",
    "Quarantine",
    "RandomAccessDataset",
    "RandomSeedConfig",
    "ReadTask",
    "ReaderFormat",
    "ResolvedSource",
    "RowBasedFileDatasink",
    "SaveMode",
    "Schema",
    "SinkMode",
    "TaskContext",
    "TaskPoolStrategy",
    "WriteResult",
    "aggregate",
    "col",
    "expressions",
    "from_arrow",
    "from_arrow_refs",
    "from_blocks",
    "from_daft",
    "from_dask",
    "from_huggingface",
    "from_items",
    "from_modin",
    "from_numpy",
    "from_numpy_refs",
    "from_pandas",
    "from_pandas_refs",
    "from_polars",
    "from_spark",
    "from_tf",
    "from_torch",
    "lit",
    "preprocessors",
    "range",
    "range_tensor",
    "read_audio",
    "read_avro",
    "read_binary_files",
    "read_clickhouse",
    "read_csv",
    "read_datasource",
    "read_delta",
    "read_iceberg",
    "read_images",
    "read_json",
    "read_lance",
    "read_mcap",
    "read_mongo",
    "read_numpy",
    "read_orc",
    "read_parquet",
    "read_snowflake",
    "read_sql",
    "read_text",
    "read_tfrecords",
    "read_videos",
    "read_webdataset",
    "read_zarr",
]

_HOMES = {
    "shoal.data.sinks.own_files": (
        "BlockBasedFileDatasink",
        "RowBasedFileDatasink",
    ),
    "shoal.data.catalogs": (
        "Catalog",
        "CatalogAccessMode",
        "ReaderFormat",
        "ResolvedSource",
    ),
    "shoal.data.expressions": (
        "col",
        "lit",
    ),
    "shoal.data.aggregate": ("AggregateFn",),
    "shoal.data.compute": ("ActorPoolStrategy", "TaskPoolStrategy"),
    "shoal.data.context": ("DataContext", "ExecutionOptions"),
    "shoal.data.dataset": ("Dataset", "GroupedData", "MaterializedDataset"),
    "shoal.data.making": (
        "from_arrow",
        "from_arrow_refs",
        "from_blocks",
        "from_dask",
        "from_huggingface",
        "from_items",
        "from_numpy",
        "from_numpy_refs",
        "from_pandas",
        "from_pandas_refs",
        "from_polars",
        "from_spark",
        "from_modin",
        "from_daft",
        "from_tf",
        "from_torch",
        "range",
        "range_tensor",
    ),
    "shoal.data.mixing": ("MixStoppingCondition",),
    "shoal.data.preprocessor": ("Preprocessor",),
    "shoal.data.quarantine": ("Quarantine",),
    "shoal.data.reading": (
        "read_audio",
        "read_videos",
        "read_delta",
        "read_lance",
        "read_iceberg",
        "read_avro",
        "read_binary_files",
        "read_clickhouse",
        "read_csv",
        "read_datasource",
        "read_images",
        "read_json",
        "read_mcap",
        "read_zarr",
        "read_mongo",
        "read_numpy",
        "read_orc",
        "read_parquet",
        "read_snowflake",
        "read_sql",
        "read_text",
        "read_tfrecords",
        "read_webdataset",
    ),
    "shoal.data.random_access_dataset": ("RandomAccessDataset",),
    "shoal.data.resources": ("ExecutionResources",),
    "shoal.data.schema": ("Schema",),
    "shoal.data.seeds": ("RandomSeedConfig",),
    "shoal.data.splitting": ("DataIterator",),
    "shoal.data.summary": ("DatasetSummary",),
    "shoal.data.sinks.clickhouse": ("ClickHouseTableSettings",),
    "shoal.data.sinks.datasink": ("Datasink", "TaskContext", "WriteResult"),
    "shoal.data.sinks.files": ("SaveMode", "SinkMode"),
    "shoal.data.sources.datasource": ("BlockMetadata", "Datasource", "ReadTask"),
    "shoal.data.sources.paths": (
        "FileShuffleConfig",
        "Partitioning",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("aggregate", "expressions", "preprocessors")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"shoal.data.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'shoal.data' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
