"""Joins: rows of two datasets with equal keys side by side, partition by partition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.block import Block, concat
from shoal.data.dividing import HashDivider
from shoal.data.exchanges import Exchange, HashPartition
from shoal.data.external import Divider, Fetch, gathered
from shoal.data.transforms import need_columns

# The reference's names, and Arrow's.
KINDS = {
    "inner": "inner",
    "left_outer": "left outer",
    "right_outer": "right outer",
    "full_outer": "full outer",
    "left_semi": "left semi",
    "right_semi": "right semi",
    "left_anti": "left anti",
    "right_anti": "right anti",
}
_LEFT, _RIGHT, _ROW = "__left_row", "__right_row", "__row"


@attrs.frozen(kw_only=True)
class Join(Exchange):
    """Rows of a left and a right input whose keys are equal; null keys are equal to nothing, as in SQL.

    Both inputs are partitioned by the hash of their keys, so one task holds one partition of both. Rows come out in the
    order of the left rows of their partition.
    """

    kind: str
    left_keys: tuple[str, ...]
    right_keys: tuple[str, ...]
    left_suffix: str | None = None
    right_suffix: str | None = None

    @property
    def label(self) -> str:
        """What a person calls this step."""
        pairs = zip(self.left_keys, self.right_keys, strict=True)
        return f"Join({self.kind}: {', '.join(a if a == b else f'{a} = {b}' for a, b in pairs)})"

    def of_side(self, side: int) -> HashPartition:
        """Return what partitions the left (0) or the right (1) input."""
        return HashPartition(blocks=self.blocks, keys=self.right_keys if side else self.left_keys)

    def split(self, block: Block, plan: Any, partitions: int, index: int) -> list[Block]:
        """Never called: each side is split by what `of_side` returns."""
        raise AssertionError("the sides of a join are split")

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Never called: a join reduces two sides."""
        raise AssertionError("a join has two sides")

    def reduce_sides(self, sides: Sequence[Sequence[Block]], index: int) -> Iterator[Block]:
        """Join a partition."""
        left, right = (concat(parts) for parts in sides)
        yield self.joined(left, right)

    def divider(self, sides: Sequence[Sequence[Fetch]], pieces: int, depth: int) -> Divider:
        """Return what divides both sides by the hash of their keys."""
        return HashDivider((self.left_keys, self.right_keys), pieces, depth)

    def reduce_whole(self, sides: Sequence[Sequence[Fetch]], index: int, limit: int) -> Iterator[Block]:
        """Join rows chunk by chunk, each with each: what of a side stands beside nothing is known after the last."""
        left, right = sides
        chunk = max(1, limit // 4)
        if self.kind in ("left_semi", "left_anti", "inner", "left_outer", "full_outer"):
            for mine in gathered(left, chunk):
                yield from self._chunk(mine, gathered(right, chunk), 0)
        if self.kind in ("right_semi", "right_anti", "right_outer", "full_outer"):
            for mine in gathered(right, chunk):
                yield from self._chunk(mine, gathered(left, chunk), 1)

    def _chunk(self, mine: Block, others: Iterator[Block], side: int) -> Iterator[Block]:
        """Join a chunk of one side with all of the other; side 1 of a full join adds only what stands alone."""
        pairs = attrs.evolve(self, kind="inner")
        partners = attrs.evolve(self, kind="right_semi" if side else "left_semi")
        beside = np.zeros(mine.num_rows, dtype=bool)
        numbered = mine.append_column(_ROW, pa.array(np.arange(mine.num_rows)))
        nothing: Block = pa.table({})
        for other in others:
            nothing = other.slice(0, 0)
            if self.kind.endswith("outer") or self.kind == "inner":
                made = None if side and self.kind == "full_outer" else pairs._of(mine, other, side)
                if made is not None and made.num_rows:
                    yield made
            if self.kind != "inner":
                beside[partners._of(numbered, other, side).column(_ROW).to_numpy()] = True
        if self.kind.endswith("semi"):
            yield mine.filter(pa.array(beside))
        elif self.kind.endswith("anti"):
            yield mine.filter(pa.array(~beside))
        elif self.kind != "inner":
            yield self._of(mine.filter(pa.array(~beside)), nothing, side)

    def _of(self, mine: Block, other: Block, side: int) -> Block:
        return self.joined(other, mine) if side else self.joined(mine, other)

    def joined(self, left: Block, right: Block) -> Block:
        """Join two tables. Raises KeyError for a column that is not there, ValueError for what does not fit.

        Example: `Join(kind="inner", left_keys=("id",), right_keys=("id",)).joined(people, orders)`
        """
        for table, names in ((left, self.left_keys), (right, self.right_keys)):
            if table.num_columns:
                need_columns(table, names)
        if not left.num_columns or not right.num_columns:
            return self._with_nothing(left, right)
        rows = self._rows(left, right)
        if self.kind in ("left_semi", "left_anti"):
            return left.take(rows.column(_LEFT))
        if self.kind in ("right_semi", "right_anti"):
            return right.take(rows.column(_RIGHT))
        return self._side_by_side(left, right, rows)

    def _with_nothing(self, left: Block, right: Block) -> Block:
        """The result where one side has no rows, so that not even its columns are known."""
        keeps = {"left_outer": left, "left_anti": left, "right_outer": right, "right_anti": right}
        if self.kind == "full_outer":
            return left if left.num_columns else right
        kept = keeps.get(self.kind)
        return kept if kept is not None else (left if left.num_columns else right).slice(0, 0)

    def _rows(self, left: Block, right: Block) -> Block:
        """Which row of the left table stands beside which of the right one; Arrow joins the keys alone."""
        names = [f"key_{number}" for number in range(len(self.left_keys))]
        sides = []
        for table, keys, row in ((left, self.left_keys, _LEFT), (right, self.right_keys, _RIGHT)):
            columns = [_plain(table.column(key)) for key in keys]
            columns.append(pa.array(np.arange(table.num_rows)))
            sides.append(pa.table(columns, names=[*names, row]))
        try:
            common = pa.unify_schemas(
                [side.select(names).schema for side in sides], promote_options="permissive"
            )
            # Arrow joins no columns that are null by type; what is in them matches nothing anyway.
            common = [
                field.with_type(pa.int8()) if pa.types.is_null(field.type) else field for field in common
            ]
            for number, side in enumerate(sides):
                row = side.schema.field(len(names))
                sides[number] = side.cast(pa.schema([*common, row]))
        except pa.ArrowException as error:
            shown = ", ".join(
                f"{a}: {left.schema.field(a).type} and {b}: {right.schema.field(b).type}"
                for a, b in zip(self.left_keys, self.right_keys, strict=True)
            )
            raise ValueError(f"keys of these types cannot be compared: {shown} ({error})") from error
        rows = sides[0].join(
            sides[1], names, join_type=KINDS[self.kind], coalesce_keys=True, use_threads=False
        )
        order = [(name, "ascending") for name in (_LEFT, _RIGHT) if name in rows.column_names]
        return rows.sort_by(order)

    def _side_by_side(self, left: Block, right: Block, rows: Block) -> Block:
        from_left, from_right = rows.column(_LEFT), rows.column(_RIGHT)
        right_names = [name for name in right.column_names if name not in self.right_keys]
        doubles = set(left.column_names) & set(right_names)
        if doubles and not (self.left_suffix or self.right_suffix):
            raise ValueError(
                f"both sides have a column {', '.join(map(repr, sorted(doubles)))}: "
                "give left_suffix or right_suffix, or drop or rename it"
            )
        columns: dict[str, Any] = {}
        for name in left.column_names:
            column = left.column(name).take(from_left)
            if name in self.left_keys:
                other = right.column(self.right_keys[self.left_keys.index(name)]).take(from_right)
                if self.kind in ("right_outer", "full_outer"):
                    column = pc.coalesce(_plain(column), _plain(other).cast(_plain(column).type))
            self._add(columns, name + (self.left_suffix or "" if name in doubles else ""), column)
        for name in right_names:
            self._add(
                columns,
                name + (self.right_suffix or "" if name in doubles else ""),
                right.column(name).take(from_right),
            )
        return pa.table(columns)

    @staticmethod
    def _add(columns: dict[str, Any], name: str, column: Any) -> None:
        if name in columns:
            raise ValueError(f"two columns of the join would be called {name!r}; give other suffixes")
        columns[name] = column


def _plain(column: Any) -> Any:
    """A column without its dictionary: dictionaries of two tables differ."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
