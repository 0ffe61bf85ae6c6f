"""What runs in tasks and actors: the stages of operators."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import shoal
from shoal.data.block import Block, compact, concat, size_of
from shoal.data.exchanges import Exchange
from shoal.data.execution.bundle import BlockFacts
from shoal.data.external import reduce_large
from shoal.data.tasks import SOURCE, STATE, TASK
from shoal.data.transforms import Transform, shaped

_FIRST = 2**22  # bytes
_GET_TIMEOUT = 600.0  # seconds for which a part that was made may take to come


def run_map(chain: Sequence[Transform], target: int, index: int, *blocks: Any) -> Iterator[Any]:
    """Run a chain of transforms; yield each block and, after it, its facts."""
    return run_steps([transform.open() for transform in chain], target, index, blocks)


def run_steps(
    steps: Sequence[Callable[[Iterator[Any]], Iterator[Block]]],
    target: int,
    index: int,
    blocks: Iterable[Any],
) -> Iterator[Any]:
    """Run opened transforms on blocks; yield each block and, after it, its facts."""
    made = _made(steps, index, blocks)
    # Whoever waits for the first rows gets them early: of the first task only, so that blocks are not many.
    yield from _told(shaped(made, target, _FIRST if index == 0 else None))


def run_gather(places: Sequence[tuple[int, int]], *blocks: Block) -> Iterator[Any]:
    """Put slices of blocks together."""
    return _told([_cut(places, blocks)])


def run_zip(places: Sequence[tuple[int, int]], left: Block, *blocks: Block) -> Iterator[Any]:
    """Put slices of blocks beside another block; a name that is there already gets a number."""
    right = _cut(places, blocks)
    columns = dict(zip(left.column_names, left.columns, strict=True))
    for name, column in zip(right.column_names, right.columns, strict=True):
        free, number = name, 1
        while free in columns:
            free, number = f"{name}_{number}", number + 1
        columns[free] = column
    return _told([type(left).from_pydict(columns)])


def run_sample(exchange: Exchange, read: Sequence[Transform] | None, block: Any) -> tuple[Any, ...]:
    """Return a sample of a block; with `read`, of what it makes of the block."""
    begun = time.perf_counter()
    blocks = [block] if read is None else _made([transform.open() for transform in read], 0, [block])
    return _with_facts([concat([exchange.sample(each) for each in blocks])], begun)


def run_plan(exchange: Exchange, partitions: int, *samples: Block) -> tuple[Any, ...]:
    """Return what splitting needs to know."""
    begun = time.perf_counter()
    plan = exchange.plan(samples, partitions)
    return (plan, [BlockFacts(0, 0, None, time.perf_counter() - begun)])


def run_split(
    exchange: Exchange,
    partitions: int,
    side: int,
    index: int,
    read: Sequence[Transform] | None,
    plan: Any,
    *blocks: Any,
) -> tuple[Any, ...]:
    """Return the parts of blocks of one of the inputs, all together; with `read`, of what it makes of the blocks."""
    begun = time.perf_counter()
    tables: Sequence[Block] = blocks
    if read is not None:
        tables = list(_made([transform.open() for transform in read], index, blocks))
    block = tables[0] if len(tables) == 1 else concat(tables)
    return _with_facts(exchange.of_side(side).split(block, plan, partitions, index), begun)


def run_reduce(
    exchange: Exchange, target: int, index: int, lengths: Sequence[int], *parts: Block
) -> Iterator[Any]:
    """Reduce the parts of a partition: of the first input `lengths[0]` of them, and so on."""
    left = iter(parts)
    sides = [list(itertools.islice(left, length)) for length in lengths]
    return _told(shaped(exchange.reduce_sides(sides, index), target))


def run_reduce_large(
    exchange: Exchange, target: int, index: int, lengths: Sequence[int], limit: int, refs: Sequence[Any]
) -> Iterator[Any]:
    """Reduce a partition that may be larger than memory: its parts are fetched one at a time."""
    left = iter(refs)
    sides = [
        [functools.partial(shoal.get, ref, timeout=_GET_TIMEOUT) for ref in itertools.islice(left, length)]
        for length in lengths
    ]
    return _told(shaped(reduce_large(exchange, sides, index, limit), target))


class MapActor:
    """Keeps a chain's instances of users' classes, and runs the chain with them."""

    def __init__(self, chain: Sequence[Transform], target: int) -> None:
        self._steps = [transform.open() for transform in chain]
        self._target = target

    def run(self, index: int, *blocks: Any) -> Iterator[Any]:
        """Run the chain; yield each block and, after it, its facts."""
        yield from run_steps(self._steps, self._target, index, blocks)


def _made(
    steps: Sequence[Callable[[Iterator[Any]], Iterator[Block]]], index: int, blocks: Iterable[Any]
) -> Iterator[Block]:
    """What opened transforms make of blocks."""
    TASK.set(index)  # for this task's steps, which begin below; the next task sets its own
    SOURCE.set(None)
    STATE.set({})
    made: Iterator[Any] = iter(blocks)
    for step in steps:
        made = step(made)
    return made


def _cut(places: Sequence[tuple[int, int]], blocks: Sequence[Block]) -> Block:
    return concat(
        [block.slice(start, stop - start) for block, (start, stop) in zip(blocks, places, strict=True)]
    )


def _told(blocks: Iterable[Block]) -> Iterator[Any]:
    begun = time.perf_counter()
    for made in blocks:
        block = compact(made)
        seconds = time.perf_counter() - begun
        node = shoal.get_runtime_context().get_node_id()
        facts = BlockFacts(block.num_rows, size_of(block), block.schema, seconds, node)
        yield block
        yield facts
        begun = time.perf_counter()


def _with_facts(blocks: Sequence[Block], begun: float) -> tuple[Any, ...]:
    blocks = [compact(block) for block in blocks]
    seconds = (time.perf_counter() - begun) / len(blocks)
    return (*blocks, [BlockFacts(block.num_rows, size_of(block), None, seconds) for block in blocks])
