"""Generate TPC-H's tables, run its queries, and compare each answer with DuckDB's.

Example: `python examples/tpch/tpch.py --scale 1 --queries 1 6`
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extension_tpch
from tpch_queries import NAMES, QUERIES, Tables

import shoal


def connect() -> duckdb.DuckDBPyConnection:
    """Return a connection that has TPC-H's generator and queries.

    Example: `connect().execute("CALL dbgen(sf=0.01)")`
    """
    folder = Path(duckdb_extension_tpch.__file__).parent
    connection = duckdb.connect()
    connection.load_extension(str(next(folder.rglob("tpch.duckdb_extension"))))
    return connection


def generate(folder: Path, scale: float) -> dict[int, list[tuple[Any, ...]]]:
    """Write the tables as Parquet into a folder; return DuckDB's answers by the numbers of the queries.

    Parameters: `scale` is the size of all tables together in GB.

    Example: `answers = generate(Path("tpch"), scale=0.01)`
    """
    with connect() as connection:
        connection.execute(f"CALL dbgen(sf={scale})")
        for name in NAMES:
            connection.execute(f"COPY {name} TO '{folder / name}.parquet' (ROW_GROUP_SIZE 100000)")
        queries = connection.execute("SELECT query_nr, query FROM tpch_queries()").fetchall()
        return {number: connection.execute(text).fetchall() for number, text in queries}


def answer(number: int, folder: Path) -> list[tuple[Any, ...]]:
    """Return the rows of a query's answer.

    Example: `answer(6, Path("tpch"))`
    """
    return [tuple(row.values()) for row in QUERIES[number](Tables(folder)).take_all()]


def differences(rows: Sequence[tuple[Any, ...]], wanted: Sequence[tuple[Any, ...]]) -> Iterator[str]:
    """Tell how an answer differs. Only fractions (means and shares) may, in the tenth digit.

    Example: `assert not list(differences(rows, wanted))`
    """
    if len(rows) != len(wanted):
        yield f"{len(rows)} rows instead of {len(wanted)}"
    for number, (row, right) in enumerate(zip(rows, wanted, strict=False)):
        if len(row) != len(right) or not all(map(_equal, row, right)):
            yield f"row {number} is {row} instead of {right}"


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float):
        return abs(one - float(other)) <= 1e-10 * max(1.0, abs(one))
    return bool(Decimal(one) == Decimal(other) if isinstance(one, (int, Decimal)) else one == other)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=0.1, help="size of all tables in GB (0.1)")
    parser.add_argument("--queries", type=int, nargs="*", default=sorted(QUERIES), metavar="N")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, shoal.init():
        wanted = generate(Path(folder), arguments.scale)
        for number in arguments.queries:
            began = time.perf_counter()
            rows = answer(number, Path(folder))
            seconds = time.perf_counter() - began
            wrong = list(differences(rows, wanted[number]))
            print(
                f"query {number:2}: {seconds:6.2f} s, {wrong[0] if wrong else f'{len(rows)} rows, as DuckDB has them'}"
            )


if __name__ == "__main__":
    main()
