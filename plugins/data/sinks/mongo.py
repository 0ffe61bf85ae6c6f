"""Rows as documents of a collection of MongoDB."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import Any

import attrs

from shoal.data.block import Block
from shoal.data.sinks.datasink import Datasink, TaskContext
from shoal.data.sinks.files import SaveMode
from shoal.data.sources.mongo import MongoCollection

_AT_ONCE = 1000  # documents of one request
_DIGITS = 24  # hexadecimal ones, of an identifier


def _mode(given: Any) -> SaveMode:
    return SaveMode.of(given)


@attrs.define(eq=False)
class MongoDatasink(Datasink[int]):
    """Inserts rows. What has an `_id` takes the place of a document with the same, so that a task may be tried again.

    Rows without `_id` are inserted, again if their task is tried again. Text of 24 hexadecimal digits in a column `_id`
    is an identifier of MongoDB's own kind, as `MongoDatasource` reads them.

    Parameters: `mode` is "append", "overwrite" (the collection is emptied first), "create" (or "error": raise
    FileExistsError if the collection has documents) or "ignore" (nothing is written then).

    Example: `ds.write_datasink(MongoDatasink(MongoCollection("mongodb://localhost", "city", "rides")))`
    """

    where: MongoCollection
    mode: SaveMode = attrs.field(default=SaveMode.APPEND, converter=_mode)
    skips: bool = attrs.field(default=False, init=False)

    def on_write_start(self, schema: Any = None) -> None:
        """Look at what is there. Raises FileExistsError as the mode says, and what the driver raises."""
        with closing(self.where.client()) as client:
            if self.mode is SaveMode.APPEND:
                client.admin.command("ping")
                return
            collection = self.where.within(client)
            is_there = collection.find_one({}, {"_id": 1}) is not None
            if is_there and self.mode in (SaveMode.CREATE, SaveMode.ERROR):
                raise FileExistsError(
                    f"{self.where.database}.{self.where.collection} has documents; "
                    'mode="append" or "overwrite" writes there all the same'
                )
            self.skips = is_there and self.mode is SaveMode.IGNORE
            if is_there and self.mode is SaveMode.OVERWRITE:
                collection.delete_many({})

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> int:
        """Insert rows; return how many. Raises what the driver raises."""
        import pymongo

        written = 0
        with closing(self.where.client()) as client:
            collection = self.where.within(client)
            for block in blocks:
                for batch in block.to_batches(_AT_ONCE):
                    requests = [
                        pymongo.ReplaceOne({"_id": row["_id"]}, row, upsert=True)
                        if "_id" in row
                        else pymongo.InsertOne(row)
                        for row in map(document, batch.to_pylist())
                    ]
                    collection.bulk_write(requests, ordered=False)
                    written += len(requests)
        return written

    def describe(self) -> str:
        """Return what a person calls this sink."""
        return "MongoDB"


def document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as MongoDB takes it. A null `_id` is none: the server gives one.

    Example: `document({"_id": "6b04d8f982e8d40b508ffb0f", "fare": 12.5})`
    """
    made = {name: _value(value) for name, value in row.items()}
    if "_id" not in made:
        return made
    given = made.pop("_id")
    if given is None:
        return made
    if isinstance(given, str) and len(given) == _DIGITS:
        import bson

        given = bson.ObjectId(given) if bson.ObjectId.is_valid(given) else given
    return {"_id": given, **made}


def _value(value: Any) -> Any:
    from datetime import date, datetime, time
    from decimal import Decimal

    if isinstance(value, dict):
        return {name: _value(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_value(inner) for inner in value]
    if isinstance(value, Decimal):
        import bson

        return bson.Decimal128(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time())  # MongoDB has no days
    return value
