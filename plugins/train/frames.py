"""Rows of datasets as frames, for libraries that want all of a rank's rows at once."""

from __future__ import annotations

from typing import Any


def rows_and_labels(name: str, label_column: str) -> tuple[Any, Any]:
    """Return this rank's rows of a dataset as a pandas frame, without the column of labels, and that column.

    Raises KeyError if there is no such column, ValueError if the rank has no rows.

    Example: `rows, labels = rows_and_labels("train", "target")`
    """
    import pandas

    from shoal.train.calls import get_dataset_shard

    parts = list(get_dataset_shard(name).iter_batches(batch_size=None, batch_format="pandas"))
    if not parts:
        raise ValueError(f"this rank has no rows of the dataset {name!r}: give fewer workers, or more rows")
    frame = pandas.concat(parts, ignore_index=True)
    if label_column not in frame:
        raise KeyError(
            f"the dataset {name!r} has no column {label_column!r}; it has {', '.join(frame.columns)}"
        )
    return frame.drop(columns=[label_column]), frame[label_column]
