"""What happens to blocks inside a task: each step takes an iterator of blocks and gives one, so nothing piles up."""

from __future__ import annotations

import secrets
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs
import numpy as np
import pyarrow as pa

from shoal.data.block import Block, concat, from_batch, from_rows, rows_of, size_of, to_batch
from shoal.data.expressions.tree import Expr
from shoal.data.tasks import TASK
from shoal.errors import describe

Step = Callable[[Iterator[Any]], Iterator[Block]]
_ROWS_AT_A_TIME = 4096  # how many rows that a function made become a block, before blocks are shaped


class Transform(ABC):
    """One step of a task, as a value that can be sent.

    `open` is called where the step runs, once in a task and once in the life of an actor.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def label(self) -> str:
        """What a person calls this step."""

    @abstractmethod
    def open(self) -> Step:
        """Return what does it. Raises what a user's constructor raises."""

    def settled(self) -> Transform:
        """Return the same with what chance decides once for an execution: tasks that are tried again do the same."""
        return self


@attrs.frozen
class UserFunction:
    """A user's function or class with the further arguments that it was given."""

    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    constructor_args: tuple[Any, ...] = ()
    constructor_kwargs: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """The name of the function or class."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    def open(self) -> Callable[[Any], Any]:
        """Return what is called with one row or batch; a class is instantiated."""
        called = (
            self.fn(*self.constructor_args, **self.constructor_kwargs)
            if isinstance(self.fn, type)
            else self.fn
        )
        if not self.args and not self.kwargs:
            return called
        return lambda value: called(value, *self.args, **self.kwargs)


@attrs.frozen
class MapBatches(Transform):
    """Calls a function with batches of `batch_size` rows (None: with whole blocks)."""

    function: UserFunction
    batch_size: int | None
    batch_format: str
    zero_copy: bool = False

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"MapBatches({self.function.name})"

    def open(self) -> Step:
        """Return what does it."""
        call = self.function.open()

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            for table in batches_of(blocks, self.batch_size):
                batch = to_batch(table, self.batch_format)
                if self.batch_format == "numpy" and not self.zero_copy:
                    batch = {name: _writable(array) for name, array in batch.items()}
                result = call(batch)
                if isinstance(result, types.GeneratorType):
                    yield from map(from_batch, result)
                else:
                    yield from_batch(result)

        return step


@attrs.frozen
class MapRows(Transform):
    """Calls a function with each row: for one row ("map"), any number of rows ("flat_map"), or a verdict ("filter")."""

    function: UserFunction
    kind: Literal["map", "flat_map", "filter"]

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return (
            f"{ {'map': 'Map', 'flat_map': 'FlatMap', 'filter': 'Filter'}[self.kind] }({self.function.name})"
        )

    def open(self) -> Step:
        """Return what does it."""
        call = self.function.open()
        if self.kind == "filter":
            return lambda blocks: (_kept(table, call) for table in blocks)
        made = self._mapped if self.kind == "map" else self._flat

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            gathered: list[Mapping[str, Any]] = []
            for table in blocks:
                for row in rows_of(table):
                    gathered += made(call(row))
                    if len(gathered) >= _ROWS_AT_A_TIME:
                        yield from_rows(gathered)
                        gathered = []
            if gathered:
                yield from_rows(gathered)

        return step

    @staticmethod
    def _mapped(result: Any) -> list[Mapping[str, Any]]:
        if not isinstance(result, Mapping):
            raise TypeError(
                f'a function given to map must return a row, such as {{"x": 1}}, not {describe(result)}'
            )
        return [result]

    @staticmethod
    def _flat(result: Any) -> list[Mapping[str, Any]]:
        if isinstance(result, (Mapping, str, bytes)) or not isinstance(result, Iterable):
            raise TypeError(
                f'a function given to flat_map must return a list of rows, such as [{{"x": 1}}], not {describe(result)}'
            )
        return list(result)


@attrs.frozen
class Project(Transform):
    """Keeps columns, under new names where `columns` says so: pairs of the old name and the new one."""

    columns: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "Project(" + ", ".join(new for _, new in self.columns) + ")"

    def open(self) -> Step:
        """Return what does it."""
        return lambda blocks: map(self._select, blocks)

    def _select(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        need_columns(table, [old for old, _ in self.columns])
        return table.select([old for old, _ in self.columns]).rename_columns([new for _, new in self.columns])


@attrs.frozen
class Rename(Transform):
    """Gives columns new names and leaves the others."""

    names: Mapping[str, str]

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "Rename(" + ", ".join(f"{old} → {new}" for old, new in self.names.items()) + ")"

    def open(self) -> Step:
        """Return what does it."""
        return lambda blocks: map(self._rename, blocks)

    def _rename(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        need_columns(table, list(self.names))
        return table.rename_columns([self.names.get(name, name) for name in table.column_names])


@attrs.frozen
class Drop(Transform):
    """Leaves columns out."""

    columns: tuple[str, ...]

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "Drop(" + ", ".join(self.columns) + ")"

    def open(self) -> Step:
        """Return what does it."""
        return lambda blocks: map(self._drop, blocks)

    def _drop(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        need_columns(table, self.columns)
        return table.drop_columns(list(self.columns))


@attrs.frozen(eq=False)
class WithColumns(Transform):
    """Adds (or replaces) columns of expressions, all of them over the columns that were there before."""

    columns: Mapping[str, Expr]

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "WithColumns(" + ", ".join(f"{name} = {expr!r}" for name, expr in self.columns.items()) + ")"

    def open(self) -> Step:
        """Return what does it."""
        return lambda blocks: map(self._add, blocks)

    def _add(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        made = table
        for name, expr in self.columns.items():
            value = expr.evaluate(table)
            if isinstance(value, pa.Scalar):
                value = pa.repeat(value, table.num_rows)
            if name in made.column_names:
                made = made.set_column(made.column_names.index(name), name, value)
            else:
                made = made.append_column(name, value)
        return made


@attrs.frozen
class FilterExpression(Transform):
    """Keeps the rows for which an expression holds, one of ours or of Arrow's."""

    expression: Any

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"Filter{self.expression if str(self.expression).startswith('(') else f'({self.expression})'}"

    def open(self) -> Step:
        """Return what does it."""
        return lambda blocks: map(self._kept, blocks)

    def _kept(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        if not isinstance(self.expression, Expr):
            return table.filter(self.expression)
        verdicts = self.expression.evaluate(table)
        if isinstance(verdicts, pa.Scalar):
            return table if verdicts.as_py() else table.slice(0, 0)
        if not pa.types.is_boolean(verdicts.type):
            raise TypeError(
                f"{self.expression!r} gives {verdicts.type}; a filter needs an expression that is true or false"
            )
        return table.filter(verdicts)


@attrs.frozen
class Sample(Transform):
    """Keeps each row with the same probability; with a seed the same rows each time."""

    fraction: float
    seed: int | None

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"RandomSample({self.fraction})"

    def settled(self) -> Sample:
        """Return the same with a seed."""
        return self if self.seed is not None else attrs.evolve(self, seed=secrets.randbits(63))

    def open(self) -> Step:
        """Return what does it."""

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            random = np.random.default_rng((self.settled().seed, TASK.get()))
            for table in blocks:
                yield table.filter(pa.array(random.random(table.num_rows) < self.fraction))

        return step


@attrs.frozen
class Head(Transform):
    """Keeps the first rows of what one task sees; a limit of the whole dataset stands behind it."""

    rows: int

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"Head({self.rows})"

    def open(self) -> Step:
        """Return what does it."""

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            left = self.rows
            for table in blocks:
                yield table.slice(0, left)
                left -= min(left, table.num_rows)
                if not left:
                    return

        return step


def need_columns(table: Block, names: Iterable[str]) -> None:
    """Raise KeyError, naming what there is, if the table lacks one of the columns.

    Example: `need_columns(table, ["x"])`
    """
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise KeyError(
            f"there is no column {', '.join(map(repr, missing))}; there are {', '.join(table.column_names)}"
        )


def batches_of(blocks: Iterable[Block], rows: int | None, drop_last: bool = False) -> Iterator[Block]:
    """Yield tables of `rows` rows each (the last one shorter); None: the blocks as they are.

    Empty blocks are left out.

    Example: `for table in batches_of(blocks, 256): ...`
    """
    if rows is None:
        yield from (table for table in blocks if table.num_rows)
        return
    kept: list[Block] = []
    held = 0
    for table in blocks:
        start = 0
        while held + table.num_rows - start >= rows:
            kept.append(table.slice(start, rows - held))
            start += rows - held
            yield concat(kept)
            kept, held = [], 0
        if start < table.num_rows:
            kept.append(table.slice(start))
            held += table.num_rows - start
    if held and not drop_last:
        yield concat(kept)


def shaped(blocks: Iterable[Block], target: int) -> Iterator[Block]:
    """Yield the same rows in tables of about `target` bytes: small ones are joined, large ones cut between rows.

    Tables of different columns are not joined. At least one table comes out, so that the columns of an empty result
    are known.

    Example: `shaped(blocks, 128 * 2**20)`
    """
    kept: list[Block] = []
    held = 0
    for table in blocks:
        size = size_of(table)
        if kept and not kept[0].schema.equals(table.schema):
            if held or sum(part.num_rows for part in kept):
                yield concat(kept)
                kept, held = [], 0
            else:
                kept = []
        if not table.num_rows:
            kept = kept or [table]
            continue
        if size > target:
            if held:
                yield concat(kept)
            kept, held = [], 0
            step = max(1, table.num_rows * target // size)
            yield from (table.slice(start, step) for start in range(0, table.num_rows, step))
            kept = []
            continue
        kept.append(table)
        held += size
        if held >= target:
            yield concat(kept)
            kept, held = [], 0
    if kept:
        yield concat(kept)


def _writable(array: Any) -> Any:
    return array if array.flags.writeable else array.copy()


def _kept(table: Block, call: Callable[[Any], Any]) -> Block:
    verdicts = []
    for row in rows_of(table):
        verdict = call(row)
        if not isinstance(verdict, (bool, np.bool_)):
            raise TypeError(f"a function given to filter must return True or False, not {describe(verdict)}")
        verdicts.append(bool(verdict))
    return table.filter(pa.array(verdicts, type=pa.bool_())) if verdicts else table
