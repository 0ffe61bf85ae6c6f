"""Verbs that make new rows of rows. Nothing runs until rows are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.block import check_format, from_batch
from shoal.data.checks import check_count, check_names
from shoal.data.compute import ActorPoolStrategy, TaskPoolStrategy, choose_compute, placement
from shoal.data.expressions import ColumnExpr, Expr, StarExpr, UnnestExpr, col, is_rename_expr, parse
from shoal.data.keywords import TaskKeywords
from shoal.data.plan.logical import Limit, Map
from shoal.data.quarantine import Quarantine, check_policy
from shoal.data.seeds import RandomSeedConfig, check_seed
from shoal.data.transforms import (
    Choose,
    Drop,
    FilterExpression,
    MapBatches,
    MapRows,
    Project,
    Rename,
    Sample,
    Transform,
    UserFunction,
    WithColumns,
)
from shoal.data.verbs.base import Planned
from shoal.errors import describe

if TYPE_CHECKING:
    from typing_extensions import Unpack

Compute = TaskPoolStrategy | ActorPoolStrategy | None
Concurrency = int | tuple[int, int] | tuple[int, int, int] | None


D = TypeVar("D", bound="Transforming")


class Transforming(Planned):
    """map, filter and their like."""

    def map(
        self: D,
        fn: Callable[..., Any],
        *,
        compute: Compute = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        concurrency: Concurrency = None,
        on_bad_rows: Quarantine | str = "error",
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Replace each row by what `fn(row)` returns.

        Parameters: `fn` takes a dict of Python values and returns one; a class is made once in each of a pool of actors
        and then called. `fn_args` and `fn_kwargs` follow the row, `fn_constructor_args` and `fn_constructor_kwargs` go
        to the class. `compute` or `concurrency` say how many run at a time. An `async def` is awaited for several rows
        at a time; rows keep their order. `on_bad_rows` is what is done with rows for which `fn` raises: "error",
        "skip", or a `Quarantine` that puts them aside. `options` are those of tasks and actors: num_cpus,
        num_gpus, memory, resources, runtime_env and the like.
        Raises TypeError for what is no function; what `fn` raises comes when rows are asked for.

        Example: `ds.map(lambda row: {"double": row["id"] * 2})`
        """
        function = _function(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        return self._mapped(
            self._rows(function, "map", compute, on_bad_rows),
            choose_compute(fn, compute, concurrency),
            options,
        )

    def flat_map(
        self: D,
        fn: Callable[..., Any],
        *,
        compute: Compute = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        concurrency: Concurrency = None,
        on_bad_rows: Quarantine | str = "error",
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Replace each row by the rows that `fn(row)` returns. The parameters are those of `map`.

        Example: `ds.flat_map(lambda row: [row] * 2)`
        """
        function = _function(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        return self._mapped(
            self._rows(function, "flat_map", compute, on_bad_rows),
            choose_compute(fn, compute, concurrency),
            options,
        )

    def filter(
        self: D,
        fn: Callable[..., Any] | None = None,
        expr: Any = None,
        *,
        compute: Compute = None,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        concurrency: Concurrency = None,
        on_bad_rows: Quarantine | str = "error",
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Keep the rows for which `fn(row)` is true, or the expression `expr` holds.

        An expression (`col("x") > 3`, the text "x > 3", or one of pyarrow.compute) is many times faster, and a source
        that can leaves the other rows unread. The further parameters are those of `map`.
        Raises ValueError unless exactly one of `fn` and `expr` is given.

        Example: `ds.filter(lambda row: row["id"] % 2 == 0)`
        """
        if (fn is None) == (expr is None):
            raise ValueError("filter takes a function or an expression: exactly one of fn and expr")
        if fn is None:
            if isinstance(expr, str):
                expr = parse(expr)
            if not isinstance(expr, (Expr, pc.Expression)):
                raise TypeError(
                    "expr must be an expression, such as col('x') > 3, \"x > 3\" or one of pyarrow.compute, "
                    f"not {describe(expr)}"
                )
            return self._mapped(FilterExpression(expr), choose_compute(None, compute, concurrency), options)
        function = _function(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        return self._mapped(
            self._rows(function, "filter", compute, on_bad_rows),
            choose_compute(fn, compute, concurrency),
            options,
        )

    def map_batches(
        self: D,
        fn: Callable[..., Any],
        *,
        batch_size: int | Literal["default"] | None = None,
        compute: Compute = None,
        batch_format: str | None = "default",
        zero_copy_batch: bool = True,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        concurrency: Concurrency = None,
        udf_modifying_row_count: bool = True,
        on_bad_rows: Quarantine | str = "error",
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Replace each batch of rows by what `fn(batch)` returns, or by all that it yields.

        Parameters: `batch_size` is in rows (None: whole blocks, "default": the context's). `batch_format` is "numpy" (a
        dict of arrays; also "default"), "pandas", "pyarrow", "polars" or "torch" (a dict of tensors). `fn` returns any
        of these forms, or yields them. With `zero_copy_batch` the arrays may be read-only views of the store; without
        it they are copies that `fn` may change. With `on_bad_rows`, all rows of a batch for which `fn` raises are bad.
        `udf_modifying_row_count=False` says that `fn` makes as many rows as it is given, which is checked: a `limit`
        behind it then keeps the other rows from being computed. The further parameters are those of `map`.
        Raises ValueError or TypeError for wrong parameters; what `fn` raises comes when rows are asked for.

        Example: `ds.map_batches(lambda batch: {"double": batch["id"] * 2}, batch_size=1000)`
        """
        size = self._context.default_batch_size if batch_size == "default" else batch_size
        check_count("batch_size", size)
        function = _function(fn, fn_args, fn_kwargs, fn_constructor_args, fn_constructor_kwargs)
        transform = MapBatches(
            function,
            size,
            check_format(batch_format),
            zero_copy_batch,
            check_policy(on_bad_rows),
            *_at_once(compute),
            keeps_count=not udf_modifying_row_count,
        )
        return self._mapped(transform, choose_compute(fn, compute, concurrency), options, size)

    def add_column(
        self: D,
        col: str,
        fn: Callable[[Any], Any],
        *,
        batch_format: str | None = "pandas",
        compute: Compute = None,
        concurrency: Concurrency = None,
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Add (or replace) a column with what `fn(batch)` returns for each batch; `options` as in `map`.

        Example: `ds.add_column("double", lambda batch: batch["id"] * 2, batch_format="numpy")`
        """
        if not isinstance(col, str):
            raise TypeError(f"col must be the name of a column, not {describe(col)}")
        add = _AddColumn(col, _function(fn).fn, check_format(batch_format))
        return self.map_batches(
            add, batch_format=batch_format, compute=compute, concurrency=concurrency, **options
        )

    def with_column(
        self: D,
        column_name: str,
        expr: Expr,
        *,
        compute: Compute = None,
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Add (or replace) a column of an expression.

        Example: `ds.with_column("fare_per_mile", col("fare") / col("miles"))`
        """
        return self.with_columns({column_name: expr}, compute=compute, **options)

    def with_columns(
        self: D,
        exprs: Mapping[str, Expr] | Expr,
        *more_exprs: Expr,
        compute: Compute = None,
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Add (or replace) columns of expressions, given by name or each with an alias.

        Raises TypeError for what is no expression, ValueError for one without a name.

        Example: `ds.with_columns({"double": col("x") * 2})`
        """
        given: dict[Any, Any] = dict(exprs) if isinstance(exprs, Mapping) else {}
        for expr in more_exprs if isinstance(exprs, Mapping) else (exprs, *more_exprs):
            name = getattr(expr, "name", None)
            if name is None:
                raise ValueError(f'{describe(expr)} needs a name: .alias("name"), or a mapping of names')
            given[name] = expr
        for name, value in given.items():
            if not isinstance(name, str) or not isinstance(value, Expr):
                raise TypeError(
                    f"a column is a name and an expression, such as col('x') * 2, not {describe(name)} and "
                    f"{describe(value)}"
                )
        return self._mapped(WithColumns(given), choose_compute(None, compute, None), options)

    def select_columns(
        self: D,
        cols: str | Expr | Sequence[str | Expr],
        *,
        compute: Compute = None,
        concurrency: Concurrency = None,
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Keep these columns only, in this order: names, or expressions, `star()` and `unnest("column")` among them.

        A source that can leaves the columns unread that are not needed. Raises TypeError for anything else, and
        ValueError for an expression without a name and for two of one name.

        Example: `ds.select_columns(["id", (col("fare") * 1.08).alias("gross")])`
        """
        given = [cols] if isinstance(cols, Expr) else cols
        runs_in = choose_compute(None, compute, concurrency)
        if isinstance(given, str) or not any(isinstance(each, Expr) for each in given):
            keep = Project(tuple((name, name) for name in check_names("cols", given)))
            return self._mapped(keep, runs_in, options)
        exprs = [_expression(each) for each in given]
        several = [isinstance(each, (StarExpr, UnnestExpr)) for each in exprs]
        for expr, stands_for_several in zip(exprs, several, strict=True):
            if expr.name is None and not stands_for_several:
                raise ValueError(f'{expr!r} needs a name: .alias("name")')
        if any(several):
            return self._mapped(Choose(tuple(exprs)), runs_in, options)
        names = check_names("cols", [expr.name for expr in exprs])
        if all(isinstance(expr, ColumnExpr) or is_rename_expr(expr) for expr in exprs):
            columns = tuple(
                (next(iter(expr.columns())), name) for expr, name in zip(exprs, names, strict=True)
            )
            return self._mapped(Project(columns), runs_in, options)
        made = {
            name: expr for expr, name in zip(exprs, names, strict=True) if not isinstance(expr, ColumnExpr)
        }
        keep = Project(tuple((name, name) for name in names))
        return self._mapped(WithColumns(made), runs_in, options)._mapped(keep, runs_in, options)

    def drop_columns(
        self: D,
        cols: str | Sequence[str],
        *,
        compute: Compute = None,
        concurrency: Concurrency = None,
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Leave these columns out.

        Example: `ds.drop_columns(["name"])`
        """
        drop = Drop(tuple(check_names("cols", cols)))
        return self._mapped(drop, choose_compute(None, compute, concurrency), options)

    def rename_columns(
        self: D,
        names: Mapping[str, str] | Sequence[str],
        *,
        concurrency: Concurrency = None,
        **options: Unpack[TaskKeywords],
    ) -> D:
        """Give columns new names: a mapping of old to new ones, or the new names of all columns.

        Raises TypeError for anything else, and ValueError for a list of another length than there are columns.

        Example: `ds.rename_columns({"id": "number"})`
        """
        if isinstance(names, Mapping):
            given = dict(names)
        else:
            new = check_names("names", names)
            schema = self._schema()
            old = list(schema.names) if schema is not None else []
            if len(new) != len(old):
                raise ValueError(
                    f"there are {len(old)} columns ({', '.join(old)}), but {len(new)} names were given"
                )
            given = dict(zip(old, new, strict=True))
        if not all(isinstance(name, str) for pair in given.items() for name in pair):
            raise TypeError(f"names of columns must be text, not {describe(names)}")
        return self._mapped(Rename(given), choose_compute(None, None, concurrency), options)

    def random_sample(self: D, fraction: float, *, seed: int | RandomSeedConfig | None = None) -> D:
        """Keep each row with the probability `fraction`.

        Example: `ds.random_sample(0.1, seed=1)`
        """
        if type(fraction) not in (int, float) or not 0 <= fraction <= 1:
            raise ValueError(f"fraction must be a number from 0 to 1, not {describe(fraction)}")
        check_seed(seed)
        return self._mapped(Sample(float(fraction), seed), TaskPoolStrategy(), {})

    def limit(self: D, limit: int) -> D:
        """Keep the first `limit` rows. What is not needed for them is not computed.

        Example: `ds.limit(10)`
        """
        check_count("limit", limit, 0, optional=False)
        return self._with(Limit(self._plan, limit))

    @staticmethod
    def _rows(
        function: UserFunction,
        kind: Literal["map", "flat_map", "filter"],
        compute: Compute,
        on_bad_rows: Quarantine | str,
    ) -> MapRows:
        return MapRows(function, kind, check_policy(on_bad_rows), *_at_once(compute))

    def _mapped(
        self: D,
        transform: Transform,
        compute: TaskPoolStrategy | ActorPoolStrategy,
        options: Mapping[str, Any],
        rows: int | None = None,
    ) -> D:
        return self._with(Map(self._plan, (transform,), compute, placement(options), rows))


@attrs.frozen
class _AddColumn:
    """A function for map_batches that adds a column."""

    name: str
    fn: Callable[[Any], Any]
    batch_format: str

    @property
    def __name__(self) -> str:
        return f"add_column {self.name}"

    def __call__(self, batch: Any) -> Any:
        values = self.fn(batch)
        if self.batch_format == "pyarrow":
            table = batch.drop_columns([self.name]) if self.name in batch.column_names else batch
            return table.append_column(self.name, pa.array(values) if isinstance(values, list) else values)
        if self.batch_format == "pandas":
            return batch.assign(**{self.name: values})
        return from_batch({**batch, self.name: values})


def _expression(given: Any) -> Expr:
    if not isinstance(given, (str, Expr)):
        raise TypeError(f"cols must be names of columns or expressions, not {describe(given)}")
    return col(given) if isinstance(given, str) else given


def _at_once(compute: Compute) -> tuple[int | None, bool]:
    """How many calls at a time, and whether in threads."""
    if not isinstance(compute, ActorPoolStrategy):
        return None, False
    return compute.max_concurrent_calls_per_actor, compute.enable_true_multi_threading


def _function(
    fn: Any,
    args: Iterable[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    constructor_args: Iterable[Any] | None = None,
    constructor_kwargs: Mapping[str, Any] | None = None,
) -> UserFunction:
    if not callable(fn):
        raise TypeError(f"a function or a class with __call__ is needed, not {describe(fn)}")
    if isinstance(fn, type):
        if not any("__call__" in vars(each) for each in fn.__mro__):
            raise TypeError(f"the class {fn.__name__} needs a method __call__, which takes each row or batch")
    elif constructor_args or constructor_kwargs:
        raise ValueError("fn_constructor_args and fn_constructor_kwargs are for a class, not for a function")
    return UserFunction(
        fn,
        tuple(args or ()),
        dict(kwargs or {}),
        tuple(constructor_args or ()),
        dict(constructor_kwargs or {}),
    )
