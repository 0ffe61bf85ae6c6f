"""Verbs that move rows between blocks, and those that bring datasets together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from shoal.data.checks import check_count, check_names
from shoal.data.compute import placement
from shoal.data.exchanges import Exchange, HashPartition, RandomShuffle, Sort
from shoal.data.joining import KINDS, Join
from shoal.data.keywords import TaskKeywords
from shoal.data.mixing import Mix, MixStoppingCondition
from shoal.data.plan.logical import AllToAll, JoinInputs, Repartition, ShuffleBlocks, Union, Zip
from shoal.data.seeds import RandomSeedConfig, check_seed
from shoal.data.verbs.base import Planned
from shoal.errors import describe

if TYPE_CHECKING:
    from typing_extensions import Unpack

D = TypeVar("D", bound="Exchanging")


class Exchanging(Planned):
    """sort, shuffle, repartition, join, union and zip."""

    def repartition(
        self: D,
        num_blocks: int | None = None,
        target_num_rows_per_block: int | None = None,
        *,
        shuffle: bool = False,
        keys: Sequence[str] | None = None,
        sort: bool = False,
        strict: bool = False,
    ) -> D:
        """Cut the same rows into `num_blocks` blocks of nearly equal length, or into blocks of so many rows.

        Without `shuffle` and `keys` rows keep their order. With `keys`, rows of equal keys come into one block, and
        with `sort` in the order of the keys. Blocks of so many rows have exactly as many, but for the last, whether
        that must be (`strict`) or not.
        Raises ValueError for numbers that are no whole numbers ≥ 1, or that contradict each other.

        Example: `ds.repartition(8)`
        """
        check_count("num_blocks", num_blocks)
        check_count("target_num_rows_per_block", target_num_rows_per_block)
        if (num_blocks is None) == (target_num_rows_per_block is None):
            raise ValueError("repartition takes exactly one of num_blocks and target_num_rows_per_block")
        if sort and not keys:
            raise ValueError("sort=True needs keys")
        if keys:
            return self._exchanged(HashPartition(blocks=num_blocks, keys=tuple(keys), sort=sort))
        if shuffle:
            return self._exchanged(RandomShuffle(num_blocks))
        return self._with(Repartition(self._plan, num_blocks, target_num_rows_per_block))

    def random_shuffle(
        self: D,
        *,
        seed: int | RandomSeedConfig | None = None,
        num_blocks: int | None = None,
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Put all rows in a random order; with a seed in the same one each time, if the blocks are the same.

        A `RandomSeedConfig` gives each execution an order of its own, the same ones in each run of the program.

        Example: `ds.random_shuffle(seed=1)`
        """
        check_seed(seed)
        return self._exchanged(RandomShuffle(num_blocks, seed=seed), **options)

    def randomize_block_order(self: D, *, seed: int | None = None) -> D:
        """Put the blocks in a random order, and leave each as it is: far cheaper than a shuffle of rows.

        Example: `ds.randomize_block_order(seed=1)`
        """
        check_count("seed", seed, 0)
        return self._with(ShuffleBlocks(self._plan, seed))

    def sort(
        self: D,
        key: str | Sequence[str],
        descending: bool | Sequence[bool] = False,
        boundaries: Sequence[Any] | None = None,
    ) -> D:
        """Sort by one or more columns. Nulls come last; rows of equal keys keep their order.

        Parameters: `descending` is one for all keys or one for each. `boundaries` are values of the first key at which
        blocks begin, instead of ones drawn from samples.
        Raises TypeError or ValueError for wrong keys; a column that is not there raises KeyError when it runs.

        Example: `ds.sort(["city", "rides"], descending=[False, True])`
        """
        names = check_names("key", key)
        downs = [descending] * len(names) if isinstance(descending, bool) else list(descending)
        if len(downs) != len(names) or not all(isinstance(down, bool) for down in downs):
            raise ValueError(f"descending must be True or False, or one of them for each of {names}")
        if boundaries is not None and len(names) > 1:
            raise ValueError("boundaries are values of one key; sort by one column only")
        bounds = None if boundaries is None else tuple(sorted(boundaries, reverse=downs[0]))
        return self._exchanged(Sort(keys=tuple(zip(names, downs, strict=True)), boundaries=bounds))

    def union(self: D, *other: Planned) -> D:
        """Return the rows of this dataset and of others, one dataset after the other.

        Example: `ds.union(more, yet_more)`
        """
        self._check(other)
        return self._with(Union((self._plan, *(each._plan for each in other))))

    def mix(
        self: D,
        *other: Planned,
        weights: Sequence[float] | None = None,
        stopping_condition: MixStoppingCondition = MixStoppingCondition.STOP_ON_LONGEST_DROP,
    ) -> D:
        """Return rows of this dataset and of others in turns, a block at a time, in proportion to weights.

        Parameters: `weights` are numbers above 0, one for this dataset and each other one (None: all are equal).
        `stopping_condition` says whether the mix ends with the first dataset that ends, or goes on without it.
        Raises TypeError or ValueError for wrong parameters.

        Example: `web.mix(books, weights=[3, 1])`
        """
        self._check(other)
        given = [1.0] * (len(other) + 1) if weights is None else list(weights)
        if len(given) != len(other) + 1 or not all(type(each) in (int, float) and each > 0 for each in given):
            raise ValueError(f"weights must be {len(other) + 1} numbers above 0, not {describe(weights)}")
        if not isinstance(stopping_condition, MixStoppingCondition):
            raise TypeError(f"a MixStoppingCondition is needed, not {describe(stopping_condition)}")
        parts = (self._plan, *(each._plan for each in other))
        return self._with(Mix(parts, tuple(given), stopping_condition))

    def zip(self: D, *other: Planned) -> D:
        """Return the columns of this dataset and of others side by side; a name that is there already gets a number.

        Raises, when it runs, ValueError for datasets of different lengths.

        Example: `ds.zip(labels)`
        """
        self._check(other)
        plan = self._plan
        for each in other:
            plan = Zip(plan, each._plan)
        return self._with(plan)

    def join(
        self: D,
        ds: Planned,
        join_type: str,
        num_partitions: int | None = None,
        on: str | Sequence[str] = ("id",),
        right_on: str | Sequence[str] | None = None,
        left_suffix: str | None = None,
        right_suffix: str | None = None,
        *,
        partition_size_hint: int | None = None,
        aggregator_ray_remote_args: Mapping[str, Any] | None = None,
        validate_schemas: bool = False,
    ) -> D:
        """Put rows of this dataset and of `ds` with equal keys side by side. Null keys are equal to nothing.

        Parameters: `join_type` is "inner", "left_outer", "right_outer", "full_outer", "left_semi", "right_semi",
        "left_anti" or "right_anti". `on` are the columns to compare, `right_on` those of `ds` where they have other
        names. Columns besides the keys that both have take `left_suffix` and `right_suffix`. `num_partitions` is how
        many tasks join (None: as the sizes of the data ask for); `partition_size_hint` (bytes) is what a partition
        should not exceed much. `aggregator_ray_remote_args` are options of these tasks. `validate_schemas` looks before
        anything else runs whether the keys are there.
        Raises ValueError or TypeError for wrong parameters; when it runs, KeyError for a key that is not there and
        ValueError for columns that both have, without suffixes.

        Example: `orders.join(people, "left_outer", on="person", right_on="id")`
        """
        self._check([ds])
        if join_type not in KINDS:
            raise ValueError(f"join_type must be one of {', '.join(KINDS)}, not {describe(join_type)}")
        check_count("num_partitions", num_partitions)
        check_count("partition_size_hint", partition_size_hint)
        keys = check_names("on", on)
        right_keys = keys if right_on is None else check_names("right_on", right_on)
        if not keys or len(keys) != len(right_keys):
            raise ValueError(f"on and right_on must name as many columns, not {keys} and {right_keys}")
        if validate_schemas:
            for side, names in ((self, keys), (ds, right_keys)):
                schema = side._schema()
                missing = [] if schema is None else [name for name in names if name not in schema.names]
                if missing:
                    raise ValueError(
                        f"there is no column {', '.join(map(repr, missing))}; there are {', '.join(schema.names)}"
                    )
        exchange = Join(
            blocks=num_partitions,
            size=partition_size_hint,
            kind=join_type,
            left_keys=tuple(keys),
            right_keys=tuple(right_keys),
            left_suffix=left_suffix,
            right_suffix=right_suffix,
        )
        options = placement(aggregator_ray_remote_args or {})
        return self._with(JoinInputs(self._plan, ds._plan, exchange, options))

    def _exchanged(self: D, exchange: Exchange, **options: Unpack[TaskKeywords]) -> D:
        return self._with(AllToAll(self._plan, exchange, placement(options)))

    @staticmethod
    def _check(others: Sequence[Any]) -> None:
        for each in others:
            if not isinstance(each, Planned):
                raise TypeError(f"a Dataset is needed, not {describe(each)}")
