"""The tables that the rows of `data` read: made once, in a folder for temporary files that later runs find again."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.measure import Bench

# Bytes in memory of each table. A quick run shows that the rows work.
FULL, QUICK = 2_000_000_000, 200_000_000
FILE = 50_000_000  # bytes of a file's rows in memory
PAYLOAD = 1000  # bytes of the column "payload"
GROUPS = 1000
FEATURES = 8
SMALL_ROWS = 100


def megabytes(bench: Bench) -> float:
    """Return how many MB a table has."""
    return bench.size(FULL, QUICK) / 1e6


def wide(bench: Bench) -> str:
    """Return the folder of rows of 1 KB: what a pipeline of documents or of small pictures moves."""
    return _made("wide", bench.size(FULL, QUICK) // (PAYLOAD + 24), FILE // (PAYLOAD + 24), _wide)


def narrow(bench: Bench) -> str:
    """Return the folder of rows of 100 bytes: id, key (random, as many as rows), group, value, text."""
    return _made("narrow", bench.size(FULL, QUICK) // 100, FILE // 100, _narrow)


def features(bench: Bench) -> str:
    """Return the folder of rows of numbers: eight features of 4 bytes, a label of 8."""
    return _made("features", bench.size(FULL, QUICK) // 40, FILE // 40, _features)


def small(bench: Bench) -> tuple[str, int]:
    """Return the folder of many files of 100 rows, and how many they are."""
    files = bench.size(10_000, 1_000)
    return _made("small", files * SMALL_ROWS, SMALL_ROWS, _features), files


def target() -> str:
    """Return an empty folder for what a row writes."""
    folder = Path(tempfile.gettempdir(), "shoal-benchmark-written")
    shutil.rmtree(folder, ignore_errors=True)
    return str(folder)


@functools.cache
def _made(name: str, rows: int, rows_of_file: int, make: Callable[[Any, int, int], Any]) -> str:
    import numpy as np
    import pyarrow.parquet as pq

    folder = Path(tempfile.gettempdir(), f"shoal-benchmark-{name}-{rows}")
    if folder.exists():
        return str(folder)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    random = np.random.default_rng(1)
    for number, start in enumerate(range(0, rows, rows_of_file)):
        table = make(random, start, min(rows_of_file, rows - start))
        pq.write_table(table, unfinished / f"{number:06}.parquet", row_group_size=max(1, rows_of_file // 4))
    os.rename(unfinished, folder)
    return str(folder)


def _wide(random: Any, start: int, rows: int) -> Any:
    import numpy as np
    import pyarrow as pa

    payload = pa.Array.from_buffers(
        pa.binary(),
        rows,
        [
            None,
            pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * PAYLOAD),
            pa.py_buffer(random.bytes(rows * PAYLOAD)),
        ],
    )
    return pa.table(
        {
            "id": np.arange(start, start + rows),
            "key": random.integers(0, GROUPS, rows),
            "value": random.random(rows),
            "payload": payload,
        }
    )


def _narrow(random: Any, start: int, rows: int) -> Any:
    import numpy as np
    import pyarrow as pa

    text = pa.Array.from_buffers(
        pa.string(),
        rows,
        [
            None,
            pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * 64),
            pa.py_buffer(random.integers(97, 123, rows * 64, dtype=np.uint8)),
        ],
    )
    return pa.table(
        {
            "id": np.arange(start, start + rows),
            "key": random.permutation(rows) + start,
            "group": random.integers(0, GROUPS, rows),
            "value": random.random(rows),
            "text": text,
        }
    )


def _features(random: Any, start: int, rows: int) -> Any:
    import numpy as np
    import pyarrow as pa

    columns = {f"x{number}": random.random(rows, dtype=np.float32) for number in range(FEATURES)}
    return pa.table({**columns, "y": random.integers(0, 10, rows)})
