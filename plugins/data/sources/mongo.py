"""Documents of a collection of MongoDB as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import Block
from shoal.data.checks import need
from shoal.data.sources.datasource import BlockMetadata, Datasource, ReadTask
from shoal.data.sources.records import in_tables
from shoal.errors import describe

_BATCH = 1024  # documents that one answer of the server holds
_WRITES = ("$out", "$merge")


@attrs.frozen(eq=False, repr=False)
class MongoCollection:
    """Names a collection, and connects where it is opened.

    Parameters: `uri` is such as "mongodb://user:password@host:27017"; `options` are further ones of
    `pymongo.MongoClient`.

    Example: `MongoCollection("mongodb://localhost:27017", "city", "rides")`
    """

    uri: str
    database: str
    collection: str
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for name in ("uri", "database", "collection"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name} is text that is not empty, not {describe(value)}")

    def client(self) -> Any:
        """Return a new client. Raises ImportError without pymongo, and what the driver raises for a wrong address."""
        driver = need("pymongo", "reading and writing MongoDB", "mongo")
        return driver.MongoClient(self.uri, **self.options)

    def within(self, client: Any) -> Any:
        """Return the collection, as the driver has it."""
        return client[self.database][self.collection]


def check_pipeline(pipeline: Any) -> tuple[Mapping[str, Any], ...]:
    """Return the stages of an aggregation. Raises TypeError or ValueError for what is none, or for one that writes.

    Example: `check_pipeline([{"$match": {"fare": {"$gt": 10}}}])`
    """
    if pipeline is None:
        return ()
    if not isinstance(pipeline, Sequence) or isinstance(pipeline, (str, bytes)):
        raise TypeError(
            f"pipeline is a list of stages, such as [{{'$match': {{}}}}], not {describe(pipeline)}"
        )
    for stage in pipeline:
        if not isinstance(stage, Mapping) or len(stage) != 1 or not str(next(iter(stage))).startswith("$"):
            raise ValueError(f"a stage is a mapping with one key that begins with $, not {describe(stage)}")
        if next(iter(stage)) in _WRITES:
            raise ValueError(f"{next(iter(stage))} writes: write_mongo writes what a dataset has")
    return tuple(dict(stage) for stage in pipeline)


@attrs.frozen(eq=False)
class MongoDatasource(Datasource):
    """A collection, or what an aggregation over it gives. It is read in pieces by stretches of `_id`.

    Pieces would be wrong wherever a stage looks at several documents, so that an aggregation is read in pieces only if
    all its stages look at one document at a time: $match, $project, $addFields, $set, $unset, $unwind.

    Parameters: `schema` is Arrow's; without it types follow the documents.

    Example: `read_datasource(MongoDatasource(MongoCollection("mongodb://localhost", "city", "rides")))`
    """

    where: MongoCollection
    pipeline: tuple[Mapping[str, Any], ...] = attrs.field(default=(), converter=check_pipeline)
    schema: Any = None

    def estimate_inmemory_data_size(self) -> int | None:
        """Nothing is known before the server was asked."""
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return stretches of `_id` with nearly as many documents each, or one piece."""
        whole = [ReadTask(_Stretch(self, None, None, per_task_row_limit))]
        if parallelism < 2 or not self._can_be_cut():
            return whole
        with closing(self.where.client()) as client:
            buckets = list(
                self.where.within(client).aggregate(
                    [{"$bucketAuto": {"groupBy": "$_id", "buckets": parallelism}}], allowDiskUse=True
                )
            )
        if len(buckets) < 2:
            return whole
        # The outer stretches are open: what is inserted meanwhile is in one of them, and nothing is in two.
        starts = [None, *(bucket["_id"]["min"] for bucket in buckets[1:])]
        stops = [*starts[1:], None]
        told = not self.pipeline
        return [
            ReadTask(
                _Stretch(self, start, stop, per_task_row_limit),
                BlockMetadata(num_rows=bucket["count"]) if told else BlockMetadata(),
            )
            for start, stop, bucket in zip(starts, stops, buckets, strict=True)
        ]

    def _can_be_cut(self) -> bool:
        alone = {"$match", "$project", "$addFields", "$set", "$unset", "$unwind"}
        return all(next(iter(stage)) in alone for stage in self.pipeline)

    def project(self, columns: Sequence[str]) -> MongoDatasource:
        """Return the same source with these columns only."""
        wanted = {"_id": 0, **dict.fromkeys(columns, 1)}
        return attrs.evolve(self, pipeline=(*self.pipeline, {"$project": wanted}))

    def describe(self) -> str:
        """Return what a person calls this source."""
        return "MongoDB"


@attrs.frozen(eq=False)
class _Stretch:
    source: MongoDatasource
    start: Any
    stop: Any
    limit: int | None

    def __call__(self) -> Iterator[Block]:
        source = self.source
        with closing(source.where.client()) as client:
            rows = (
                {name: plain(value, name) for name, value in document.items()}
                for document in source.where.within(client).aggregate(
                    self.stages(), batchSize=_BATCH, allowDiskUse=True
                )
            )
            for table in in_tables(rows):
                yield table if source.schema is None else fit(table, source.schema)

    def stages(self) -> list[Mapping[str, Any]]:
        """Return the whole aggregation."""
        bounds = {
            word: value for word, value in (("$gte", self.start), ("$lt", self.stop)) if value is not None
        }
        first = [{"$match": {"_id": bounds}}] if bounds else []
        last = [{"$limit": self.limit}] if self.limit is not None else []
        return [*first, *self.source.pipeline, *last]


def plain(value: Any, name: str) -> Any:
    """Return a value of a document as Python and Arrow have it: identifiers as 24 hexadecimal digits.

    Raises TypeError for those that Arrow has no type for, with the field's name.

    Example: `plain(document["_id"], "_id")`
    """
    import bson

    if isinstance(value, dict):
        return {key: plain(inner, f"{name}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner, name) for inner in value]
    if isinstance(value, bson.ObjectId):
        return str(value)
    if isinstance(value, bson.Decimal128):
        return value.to_decimal()
    if isinstance(value, bson.Int64):
        return int(value)
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, (bson.Regex, bson.Code, bson.DBRef, bson.MinKey, bson.MaxKey, bson.Timestamp)):
        raise TypeError(
            f"field {name!r} holds a {type(value).__name__}, which columns cannot hold; "
            f'leave it out: pipeline=[{{"$unset": "{name}"}}]'
        )
    return value


def fit(table: Block, schema: Any) -> Block:
    """Return a table with the columns and types of a schema; columns that are not there are null.

    Raises what Arrow raises if values do not fit.

    Example: `fit(table, pa.schema({"fare": pa.float64()}))`
    """
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
