"""From an optimised plan to operators, and to what their tasks are told."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import attrs

import shoal
from shoal.data.compute import ActorPoolStrategy, TaskPoolStrategy
from shoal.data.context import DataContext
from shoal.data.exchanges import Exchange
from shoal.data.execution.barriers import (
    ExchangeOperator,
    RealignOperator,
    ShuffleBlocksOperator,
    ZipOperator,
)
from shoal.data.execution.bundle import Bundle
from shoal.data.execution.operators import LimitOperator, MapOperator, Operator, Source, UnionOperator
from shoal.data.execution.pool import ActorPool
from shoal.data.mixing import Mix, MixOperator
from shoal.data.plan import logical
from shoal.data.sinks.step import WriteBlocks
from shoal.data.sources.datasource import SupportsProjection, pieces_of
from shoal.data.transforms import (
    Drop,
    FilterExpression,
    Project,
    Rename,
    Sample,
    Step,
    Transform,
)

_IN_FLIGHT = 2  # tasks that an actor is given ahead
_READ_TASKS_PER_CPU = 4
_NO_LARGER = (Drop, FilterExpression, Project, Rename, Sample)


@attrs.frozen(eq=False)
class Recipe:
    """What the tasks of an operator are told.

    Parameters: `chain` is for maps, `exchange` for exchanges; `reads` has for each input of an exchange what its
    splitting tasks read (None: they are given blocks). `options` are those of tasks and actors.
    """

    chain: tuple[Transform, ...] = ()
    exchange: Exchange | None = None
    reads: tuple[tuple[Transform, ...] | None, ...] = ()
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class _ReadHere:
    """What the tasks that split an input read: how, the pieces, and those of the columns that are sampled."""

    chain: tuple[Transform, ...]
    pieces: tuple[Bundle, ...]
    sampled: tuple[Bundle, ...] | None = None


@attrs.frozen(eq=False)
class Pipeline:
    """Operators in an order in which each comes after its inputs, who takes what each makes, and their recipes."""

    operators: list[Operator]
    consumers: list[tuple[int, int] | None]
    recipes: list[Recipe]


def build(node: logical.Node, context: DataContext, cpus: float, target: int, chunk: int) -> Pipeline:
    """Return the operators of a plan. Raises what looking at a source raises.

    `target` is how many bytes a block is to have, `chunk` how many a task of an exchange works on.

    Example: `build(optimise(plan), DataContext.get_current(), 4, 2**27, 2**27)`
    """
    pipeline = Pipeline([], [], [])
    _Builder(pipeline, context, cpus, target, chunk).add(node)
    return pipeline


@attrs.frozen(eq=False)
class _Builder:
    pipeline: Pipeline
    context: DataContext
    cpus: float
    target: int
    chunk: int

    def add(self, node: logical.Node) -> int:
        """Add the operators of a node and of all before it; return the number of its own."""
        reads = tuple(self._read_to_split(node, each) for each in node.inputs)
        inputs = [
            self.add(each) if read is None else self._place(Source(each.label, read.pieces), Recipe(), [])
            for each, read in zip(node.inputs, reads, strict=True)
        ]
        operator, recipe = self._make(node)
        if any(reads):
            assert isinstance(operator, ExchangeOperator)
            recipe = attrs.evolve(recipe, reads=tuple(None if read is None else read.chain for read in reads))
            operator.sampled = None if reads[0] is None else reads[0].sampled
            read_here = [each.label for each, read in zip(node.inputs, reads, strict=True) if read]
            operator.name = f"{', '.join(read_here)} → {operator.name}"
        if isinstance(node, logical.Read):
            inputs = [self._place(Source(node.label, self._pieces(node)), Recipe(), [])]
        return self._place(operator, recipe, inputs)

    def _place(self, operator: Operator, recipe: Recipe, inputs: list[int]) -> int:
        number = len(self.pipeline.operators)
        self.pipeline.operators.append(operator)
        self.pipeline.recipes.append(recipe)
        self.pipeline.consumers.append(None)
        for port, each in enumerate(inputs):
            self.pipeline.consumers[each] = (number, port)
        return number

    def _make(self, node: logical.Node) -> tuple[Operator, Recipe]:
        how: dict[str, Any] = {"ordered": self.context.execution_options.preserve_order}
        name = node.label
        if isinstance(node, logical.Read):
            return self._map(
                name,
                (_Reading(), *node.transforms),
                TaskPoolStrategy(node.concurrency),
                node.options if node.source.supports_distributed_reads else _here(node.options),
            )
        if isinstance(node, logical.InputBlocks):
            return Source(name, node.bundles), Recipe()
        if isinstance(node, logical.Map):
            return self._map(name, node.transforms, node.compute, node.options, node.rows_at_least)
        if isinstance(node, logical.Write):
            chain = (WriteBlocks(node.sink),)
            return self._map(
                name, chain, TaskPoolStrategy(node.concurrency), node.options, node.sink.min_rows_per_write
            )
        if isinstance(node, logical.Limit):
            return LimitOperator(name, node.rows), Recipe()
        if isinstance(node, (logical.AllToAll, logical.JoinInputs)):
            how["cpus"] = node.options.get("num_cpus", 1)
            exchange, context = node.exchange.settled(), self.context
            selector = context.execution_options.label_selector
            options = {**({"label_selector": dict(selector)} if selector else {}), **node.options}
            count = functools.partial(
                exchange.partitions, target=self.chunk, most=context.max_shuffle_partitions
            )
            how["chunk"] = self.chunk
            recipe = Recipe(exchange=exchange, options=options)
            return ExchangeOperator(name, exchange.samples, count, len(node.inputs), **how), recipe
        if isinstance(node, logical.Repartition):
            return RealignOperator(name, functools.partial(_starts, node.blocks, node.rows), **how), Recipe()
        if isinstance(node, logical.ShuffleBlocks):
            return ShuffleBlocksOperator(name, node.seed), Recipe()
        if isinstance(node, logical.Union):
            return UnionOperator(name, len(node.parts), how["ordered"]), Recipe()
        if isinstance(node, Mix):
            return MixOperator(name, node.weights, node.stopping_condition), Recipe()
        if isinstance(node, logical.Zip):
            return ZipOperator(name, **how), Recipe()
        raise TypeError(f"nothing carries out {node!r}")

    def _map(
        self,
        name: str,
        chain: tuple[Transform, ...],
        compute: TaskPoolStrategy | ActorPoolStrategy,
        options: Mapping[str, Any],
        rows_at_least: int | None = None,
    ) -> tuple[Operator, Recipe]:
        ordered = self.context.execution_options.preserve_order
        chain = tuple(each.settled() for each in chain)
        cpus = options.get("num_cpus", 0 if options.get("num_gpus") else 1)
        selector = self.context.execution_options.label_selector
        options = {**({"label_selector": dict(selector)} if selector else {}), **options}
        recipe = Recipe(chain, options={**options, "num_cpus": cpus})
        if isinstance(compute, TaskPoolStrategy):
            made = MapOperator(name, rows_at_least, cpus=cpus, most=compute.size, ordered=ordered)
            made.needs = needs_of(options)
            return made, recipe
        pool = ActorPool(
            compute.first,
            compute.most,
            cpus,
            compute.max_tasks_in_flight_per_actor or _IN_FLIGHT,
            compute.least,
        )
        made = MapOperator(name, rows_at_least, pool, cpus=0.0, ordered=ordered)
        made.needs = needs_of(options)
        return made, recipe

    def _pieces(self, node: logical.Read) -> tuple[Bundle, ...]:
        size = node.source.estimate_inmemory_data_size()
        pieces = node.blocks or self._pieces_for(size)
        tasks = pieces_of(node.source, pieces, node.limit)
        return tuple(Bundle(task, task.metadata.num_rows or 0, 0, task.schema) for task in tasks)

    def _read_to_split(self, node: logical.Node, before: logical.Node) -> _ReadHere | None:
        """What a task that splits can read itself, so that rows do not lie in the store in between.

        That is where the source knows how large it is, and nothing on the way makes more of it. Where the exchange
        looks at samples first, their columns must be there to be read alone.
        """
        if not isinstance(node, (logical.AllToAll, logical.JoinInputs)) or not isinstance(
            before, logical.Read
        ):
            return None
        size = before.source.estimate_inmemory_data_size()
        if (
            not size
            or not before.source.supports_distributed_reads
            or self.context.max_errored_blocks != 0  # a piece that may be left out is a task of its own
            or (node.exchange.samples and not self._may_sample(before))
            or before.concurrency is not None
            or before.limit is not None
            or dict(before.options) != dict(node.options)
            or not all(isinstance(each, _NO_LARGER) for each in before.transforms)
        ):
            return None
        pieces = self._pieces(before)
        chain = (_Reading(), *(each.settled() for each in before.transforms))
        sampled = None
        if node.exchange.samples and isinstance(before.source, SupportsProjection):
            source = before.source.project(node.exchange.sampled_columns)
            sampled = self._pieces(attrs.evolve(before, source=source, blocks=len(pieces)))
        sized = tuple(attrs.evolve(piece, size=size // len(pieces)) for piece in pieces)
        return _ReadHere(chain, sized, sampled)

    def _may_sample(self, read: logical.Read) -> bool:
        source = read.source
        return not read.transforms and isinstance(source, SupportsProjection) and source.reads_columns_alone()

    def _pieces_for(self, size: int | None) -> int:
        """Enough pieces for all CPUs, unless they become small; and so many that none is much larger than a block."""
        wanted = max(1, int(self.cpus * _READ_TASKS_PER_CPU))
        if size is None:
            return wanted
        return max(
            1,
            min(wanted, size // self.context.target_min_block_size),
            -(-size // self.target),
        )


def needs_of(options: Mapping[str, Any]) -> dict[str, float]:
    """What tasks of these options take of what a context can bound besides CPUs.

    Example: `needs_of({"num_gpus": 1})  # {"gpu": 1}`
    """
    given = {"gpu": options.get("num_gpus"), "memory": options.get("memory")}
    return {name: amount for name, amount in given.items() if amount}


def _here(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same options, for tasks of this node alone."""
    node = shoal.get_runtime_context().get_node_id()
    return {**options, "scheduling_strategy": shoal.NodeAffinitySchedulingStrategy(node, soft=False)}


def _starts(blocks: int | None, rows_each: int | None, rows: int) -> list[int]:
    """The first row of each block when `rows` rows are cut into so many blocks, or into blocks of so many rows."""
    if blocks is not None:
        return [number * rows // blocks for number in range(blocks)]
    return list(range(0, rows, rows_each or 1)) or [0]


@attrs.frozen
class _Reading(Transform):
    """Reads pieces of a source."""

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "Read"

    def open(self) -> Step:
        """Return what does it."""
        return lambda pieces: (table for piece in pieces for table in piece())
