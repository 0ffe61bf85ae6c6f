"""What happens to blocks inside a task: each step takes an iterator of blocks and gives one, so nothing piles up."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs
import numpy as np
import pyarrow as pa

from shoal.data.block import Block, concat, from_batch, from_rows, rows_of, size_of, to_batch
from shoal.data.checks import need_names
from shoal.data.concurrency import Bound, Calls, called_at_once
from shoal.data.expressions.projections import expand_projection_exprs
from shoal.data.expressions.tree import Expr
from shoal.data.hashing import hash_rows
from shoal.data.quarantine import BadRows, Quarantine
from shoal.data.seeds import RandomSeedConfig
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
        return Bound(called, self.args, self.kwargs)


@attrs.frozen
class MapBatches(Transform):
    """Calls a function with batches of `batch_size` rows (None: with whole blocks)."""

    function: UserFunction
    batch_size: int | None
    batch_format: str
    zero_copy: bool = False
    on_bad_rows: Quarantine | str = "error"
    at_once: int | None = None  # how many batches the function is called with at the same time
    in_threads: bool = False
    keeps_count: bool = False  # whether as many rows come out of each batch as went in

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"MapBatches({self.function.name})"

    def open(self) -> Step:
        """Return what does it."""
        call = Bound(self.function.open(), prepare=self._batch)
        calls = called_at_once(call, self.at_once, self.in_threads)

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            bad = BadRows(self.on_bad_rows, self.function.name)
            for table, result, error in calls(batches_of(blocks, self.batch_size)):
                try:
                    if error is not None:
                        raise error
                    made = map(from_batch, result) if isinstance(result, Iterator) else [from_batch(result)]
                    if not self.keeps_count:
                        yield from made
                        continue
                    whole = concat(list(made))
                    if whole.num_rows != table.num_rows:
                        raise ValueError(
                            f"{self.function.name} made {whole.num_rows} rows of {table.num_rows}, "
                            "though udf_modifying_row_count=False says that it keeps their number"
                        )
                    yield whole
                except Exception as raised:  # the program's function, or what it made
                    bad.put(table, raised)
            bad.close()

        return step

    def _batch(self, table: Block) -> Any:
        batch = to_batch(table, self.batch_format)
        if self.batch_format == "numpy" and not self.zero_copy:
            return {name: _writable(array) for name, array in batch.items()}
        return batch


@attrs.frozen
class MapRows(Transform):
    """Calls a function with each row: for one row ("map"), any number of rows ("flat_map"), or a verdict ("filter")."""

    function: UserFunction
    kind: Literal["map", "flat_map", "filter"]
    on_bad_rows: Quarantine | str = "error"
    at_once: int | None = None  # how many rows the function is called with at the same time
    in_threads: bool = False

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return (
            f"{ {'map': 'Map', 'flat_map': 'FlatMap', 'filter': 'Filter'}[self.kind] }({self.function.name})"
        )

    def open(self) -> Step:
        """Return what does it."""
        calls = called_at_once(self.function.open(), self.at_once, self.in_threads)
        if self.kind == "filter":
            return lambda blocks: self._filtered(blocks, calls)
        made = self._mapped if self.kind == "map" else self._flat

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            bad = BadRows(self.on_bad_rows, self.function.name)
            gathered: list[Mapping[str, Any]] = []
            for table in blocks:
                for row, result, error in calls(rows_of(table)):
                    try:
                        if error is not None:
                            raise error
                        gathered += made(result)
                    except Exception as raised:  # the program's function, or what it made
                        bad.put(from_rows([row]), raised)
                    if len(gathered) >= _ROWS_AT_A_TIME:
                        yield from_rows(gathered)
                        gathered = []
            if gathered:
                yield from_rows(gathered)
            bad.close()

        return step

    def _filtered(self, blocks: Iterator[Block], calls: Calls) -> Iterator[Block]:
        bad = BadRows(self.on_bad_rows, self.function.name)
        for table in blocks:
            verdicts = []
            for row, result, error in calls(rows_of(table)):
                try:
                    if error is not None:
                        raise error
                    verdicts.append(_verdict(result))
                except Exception as raised:  # the program's function, or what it made
                    bad.put(from_rows([row]), raised)
                    verdicts.append(False)
            yield table.filter(pa.array(verdicts, type=pa.bool_())) if verdicts else table
        bad.close()

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
class Choose(Transform):
    """Makes of each table the columns of expressions; of two of one name the last one."""

    exprs: tuple[Expr, ...]

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"Choose({', '.join(map(repr, self.exprs))})"

    def open(self) -> Step:
        """Return what does it."""
        return lambda blocks: map(self._chosen, blocks)

    def _chosen(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        made: dict[str, Any] = {}
        for expr in expand_projection_exprs(self.exprs, table.schema):
            value = expr.evaluate(table)
            made[str(expr.name)] = pa.repeat(value, table.num_rows) if isinstance(value, pa.Scalar) else value
        return pa.table(made)


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
        return lambda blocks: map(self.add, blocks)

    def add(self, table: Block) -> Block:
        """Return a table with the columns."""
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
    seed: int | RandomSeedConfig | None

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"RandomSample({self.fraction})"

    def settled(self) -> Sample:
        """Return the same with a seed."""
        if isinstance(self.seed, RandomSeedConfig):
            return attrs.evolve(self, seed=self.seed.next_seed())
        return self if self.seed is not None else attrs.evolve(self, seed=secrets.randbits(63))

    def open(self) -> Step:
        """Return what does it."""

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            seed = self.settled().seed
            assert isinstance(seed, int)
            random = np.random.default_rng((seed, TASK.get()))
            for table in blocks:
                yield table.filter(pa.array(random.random(table.num_rows) < self.fraction))

        return step


@attrs.frozen
class Share(Transform):
    """Keeps the rows on one side of a cut: by a hash of a column, or at random. With the same seed, sides are disjoint.

    Parameters: `test_size` is the share of rows on the side of the test; with `test` that side is kept, else the other.
    """

    test_size: float
    test: bool
    seed: int
    column: str | None = None

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"{'Test' if self.test else 'Train'}Share({self.test_size})"

    def open(self) -> Step:
        """Return what does it."""

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            random = np.random.default_rng((self.seed, TASK.get()))
            for table in blocks:
                if self.column is None:
                    drawn = random.random(table.num_rows)
                else:
                    need_columns(table, [self.column])
                    salt = pa.repeat(pa.scalar(self.seed), table.num_rows)
                    hashes = hash_rows([table.column(self.column), salt], table.num_rows)
                    drawn = hashes.astype(np.float64) / 2.0**64
                yield table.filter(pa.array((drawn < self.test_size) == self.test))

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
    need_names(names, table.column_names)


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


def shaped(blocks: Iterable[Block], target: int, first: int | None = None) -> Iterator[Block]:
    """Yield the same rows in tables of about `target` bytes: small ones are joined, large ones cut between rows.

    With `first` the first table has about so many bytes only. Tables of different columns are not joined. At least one
    table comes out, so that the columns of an empty result are known.

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
        if held >= (target if first is None else min(first, target)):
            yield concat(kept)
            kept, held, first = [], 0, None
    if kept:
        yield concat(kept)


def _writable(array: Any) -> Any:
    return array if array.flags.writeable else array.copy()


def _verdict(result: Any) -> bool:
    if not isinstance(result, (bool, np.bool_)):
        raise TypeError(f"a function given to filter must return True or False, not {describe(result)}")
    return bool(result)
