"""Which part of which dataset each rank gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from shoal.errors import ConfigError, describe
from shoal.train.mesh import data_place

TRAIN_DATASET_KEY = "train"


class DataConfig:
    """How the trainer's datasets are dealt to the ranks.

    Parameters: `datasets_to_split` are the names of those of which each rank gets a part ("all"); of others each gets
    the whole. Parts have equal numbers of rows, so that ranks take equally many steps. `execution_options` are the
    options with which the datasets run, for all or by name. `enable_shard_locality` gives a rank blocks that are on its
    node, as far as can be. `resume_mid_epoch` has a group that begins anew go on with the rows that its checkpoint had
    not seen (rows keep their order for it, and shuffles draw from a seed of the run's); without it, or with
    `preserve_order=False`, the epoch begins anew.
    Raises ConfigError.

    Example: `DataConfig(datasets_to_split=["train"])`
    """

    def __init__(
        self,
        datasets_to_split: Literal["all"] | list[str] = "all",
        execution_options: Any = None,
        enable_shard_locality: bool = True,
        resume_mid_epoch: bool = True,
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
        self._resumes = resume_mid_epoch

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
        from shoal.data.positions import SplitPosition
        from shoal.data.resuming import split_to_go_on

        shards: list[dict[str, Any]] = [{} for _ in range(world_size)]
        hints = list(worker_node_ids) if worker_node_ids and self._locality else [None] * world_size
        ranks, parts_of_rows = readers(kwargs.get("mesh") or {"dp": world_size}, world_size)
        positions: Mapping[str, SplitPosition] = kwargs.get("positions") or {}
        for name, dataset in datasets.items():
            options = self._options.get(name) if isinstance(self._options, Mapping) else self._options
            if options is not None:
                dataset.context.execution_options = options
            if self._split == "all" or name in self._split:
                start = positions.get(name) or SplitPosition.beginning()
                homes = [hints[rank] for rank in ranks]
                parts: Sequence[Any] = split_to_go_on(
                    dataset, parts_of_rows, world_size // parts_of_rows, homes, start
                )
            else:
                parts = [dataset.iterator() for _ in range(world_size)]
            for rank, part in zip(ranks, parts, strict=True):
                shards[rank][name] = part
        return shards

    def positions(self, datasets: Mapping[str, Any], known: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return where the datasets that go on in the middle of an epoch begin, by name.

        `known` is what a checkpoint has of it.
        """
        from shoal.data.positions import SplitPosition

        found: dict[str, Any] = {}
        for name, dataset in datasets.items():
            options = self._options.get(name) if isinstance(self._options, Mapping) else self._options
            ordered = (options or dataset.context.execution_options).preserve_order
            if self._resumes and ordered and (self._split == "all" or name in self._split):
                at = (known or {}).get(name)
                found[name] = SplitPosition.beginning() if at is None else SplitPosition.from_json(at)
        return found


def readers(mesh: Mapping[str, int], world_size: int) -> tuple[list[int], int]:
    """Return ranks, those that get the same rows one after the other, and how many parts of rows there are.

    Example: `readers({"tp": 2, "dp": 2}, 4)  # ([0, 2, 1, 3], 2)`
    """
    places = [data_place(mesh, rank)[0] for rank in range(world_size)]
    return sorted(range(world_size), key=places.__getitem__), data_place(mesh, 0)[1]


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
