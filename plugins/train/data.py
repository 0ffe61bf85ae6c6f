"""Which part of which dataset each rank gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from shoal.errors import ConfigError, describe

TRAIN_DATASET_KEY = "train"


class DataConfig:
    """How the trainer's datasets are dealt to the ranks.

    Parameters: `datasets_to_split` are the names of those of which each rank gets a part ("all"); of others each gets
    the whole. Parts have equal numbers of rows, so that ranks take equally many steps. `execution_options` are the
    options with which the datasets run, for all or by name. `enable_shard_locality` gives a rank blocks that are on its
    node, as far as can be.
    Raises ConfigError.

    Example: `DataConfig(datasets_to_split=["train"])`
    """

    def __init__(
        self,
        datasets_to_split: Literal["all"] | list[str] = "all",
        execution_options: Any = None,
        enable_shard_locality: bool = True,
    ) -> None:
        asked: Any = datasets_to_split
        if asked != "all" and (
            not isinstance(asked, (list, tuple)) or not all(isinstance(each, str) for each in asked)
        ):
            raise ConfigError(
                f"datasets_to_split must be 'all' or a list of names, not {describe(datasets_to_split)}"
            )
        self._split = datasets_to_split
        self._options = execution_options
        self._locality = enable_shard_locality

    @staticmethod
    def default_ingest_options() -> Any:
        """Return the options that datasets run with if nothing is said."""
        from shoal.data import DataContext

        return DataContext.get_current().execution_options

    def configure(
        self,
        datasets: Mapping[str, Any],
        world_size: int,
        worker_handles: Sequence[Any] | None,
        worker_node_ids: Sequence[str] | None,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Return for each rank its part of each dataset, by name. Raises ConfigError for a name that is not there.

        Example: `DataConfig().configure({"train": ds}, 2, None, None)[0]["train"]`
        """
        if self._split != "all":
            missing = sorted(set(self._split) - datasets.keys())
            if missing:
                raise ConfigError(
                    f"datasets_to_split names {', '.join(missing)}; the trainer's datasets are "
                    f"{', '.join(sorted(datasets)) or 'none'}"
                )
        shards: list[dict[str, Any]] = [{} for _ in range(world_size)]
        hints = list(worker_node_ids) if worker_node_ids and self._locality else None
        for name, dataset in datasets.items():
            options = self._options.get(name) if isinstance(self._options, Mapping) else self._options
            if options is not None:
                dataset.context.execution_options = options
            if self._split == "all" or name in self._split:
                parts = dataset.streaming_split(world_size, equal=True, locality_hints=hints)
            else:
                parts = [dataset.iterator() for _ in range(world_size)]
            for shard, part in zip(shards, parts, strict=True):
                shard[name] = part
        return shards


def check_datasets(datasets: Any) -> dict[str, Any]:
    """Return a trainer's datasets. Raises ConfigError for what is none.

    Example: `check_datasets({"train": shoal.data.range(10)})`
    """
    if datasets is None:
        return {}
    if not isinstance(datasets, Mapping):
        raise ConfigError(f"datasets must be a mapping from names to datasets, not {describe(datasets)}")
    for name, dataset in datasets.items():
        if not hasattr(dataset, "streaming_split"):
            raise ConfigError(
                f"datasets[{name!r}] must be a shoal.data.Dataset, not {describe(dataset)}; "
                "shoal.data.from_items, from_pandas and read_parquet make one"
            )
    return dict(datasets)
