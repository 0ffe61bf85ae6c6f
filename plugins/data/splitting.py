"""Datasets that are split while they run: several consumers, in processes of their own, share one execution."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

import shoal
from shoal.data.block import Block, concat
from shoal.data.context import DataContext
from shoal.data.verbs.feeding import Feeding

if TYPE_CHECKING:
    from shoal.data.dataset import Dataset, MaterializedDataset
    from shoal.data.execution.bundle import Bundle

_NEXT_TIMEOUT = (
    24 * 3600.0
)  # seconds; computing a block may take long, and the coordinator's death is told at once
_GET_TIMEOUT = 600.0  # seconds for which a block that was made may take to come

_AHEAD = 2  # blocks for each part that are chosen from, if they are there

# A reference to a block, which of its rows, the node that made it, and the number of its first row in the execution.
Piece = tuple[Any, int, int, str, int]
Gather = Callable[[Iterable[Block], DataContext], "MaterializedDataset"]


class DataIterator(Feeding):
    """Something to loop over again and again: a dataset, or the part of one that a consumer gets. It can be sent.

    Example: `for batch in iterator.iter_batches(batch_size=32): ...`
    """

    @abstractmethod
    def materialize(self) -> MaterializedDataset:
        """Return a dataset of the blocks that one loop gives."""

    @abstractmethod
    def stats(self) -> str:
        """Return what the last execution did."""

    @abstractmethod
    def get_context(self) -> DataContext:
        """Return the settings of the dataset."""


class WholeIterator(DataIterator):
    """All of a dataset."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def materialize(self) -> MaterializedDataset:
        """Return a dataset of the blocks, which stay in the object store while it lives."""
        return self._dataset.materialize()

    def stats(self) -> str:
        """Return what the last execution did."""
        return self._dataset.stats()

    def get_context(self) -> DataContext:
        """Return the settings of the dataset."""
        return self._dataset.context

    def _blocks(self) -> Iterator[Block]:
        return self._dataset._blocks()

    def _schema(self) -> Any:
        return self._dataset._schema()

    def _schema_so_far(self) -> Any:
        return self._dataset._schema_so_far()


class SplitIterator(DataIterator):
    """One of the parts of a dataset that is split while it runs. Each loop is an epoch of its own."""

    def __init__(self, coordinator: Any, split: int, context: DataContext, gather: Gather) -> None:
        self._coordinator = coordinator
        self._split = split
        self._context = context
        self._gather = gather

    def materialize(self) -> MaterializedDataset:
        """Return a dataset of the blocks that this part gets in one epoch."""
        return self._gather(self._blocks(), self._context)

    def stats(self) -> str:
        """Return what the last execution did, of all parts together."""
        text: str = shoal.get(self._coordinator.stats.remote(), timeout=_GET_TIMEOUT)
        return text

    def get_context(self) -> DataContext:
        """Return the settings of the dataset."""
        return self._context

    def _blocks(self) -> Iterator[Block]:
        node = shoal.get_runtime_context().get_node_id()
        epoch = shoal.get(self._coordinator.begin.remote(self._split, node), timeout=_GET_TIMEOUT)
        self._begun(epoch)
        try:
            while True:
                pieces = shoal.get(self._coordinator.next.remote(self._split, epoch), timeout=_NEXT_TIMEOUT)
                if pieces is None:
                    return
                blocks = shoal.get([ref for ref, *_ in pieces], timeout=_GET_TIMEOUT)
                whole = concat(
                    [
                        block.slice(low, high - low)
                        for block, (_, low, high, *_) in zip(blocks, pieces, strict=True)
                    ]
                )
                yield self._made(whole, pieces)
        finally:
            if shoal.is_initialized():
                shoal.get(self._coordinator.end.remote(self._split, epoch), timeout=_GET_TIMEOUT)

    def _begun(self, epoch: int) -> None:
        """An epoch of that number has begun for this part."""

    def _made(self, block: Block, pieces: Sequence[Piece]) -> Block:
        """The block that was put together of pieces, as the loop is to get it."""
        return block

    def _schema(self) -> Any:
        return shoal.get(self._coordinator.schema.remote(), timeout=_GET_TIMEOUT)


@attrs.define(eq=False)
class _Epoch:
    """One execution that the parts share. `ready` has what is for each part, `left` what is for nobody yet."""

    number: int
    execution: Any
    bundles: Iterator[Any]
    ready: list[deque[list[Piece]]]
    left: list[Piece] = attrs.field(factory=list)
    gone: set[int] = attrs.field(factory=set)  # parts that want no more
    over: bool = False
    rows: int = 0  # that came so far
    error: Exception | None = None  # what ended it; every part is told


class Coordinator:
    """Runs a dataset for `n` parts, as an actor: who asks gets the next block, or with `equal` its share of it.

    With `equal` each part gets as many rows as the others, and fewer than `n` rows at the end go to nobody. What is for
    a part that is slower than the others waits as references; the blocks lie in the store, which spills. Of the blocks
    that are there a part gets those of its own node first, and those of other parts' nodes last. `homes` says where the
    parts are; None: where they ask from.
    """

    def __init__(self, dataset: Dataset, n: int, equal: bool, homes: list[str | None]) -> None:
        self._dataset = dataset
        self._n = n
        self._equal = equal
        self._told = list(homes)
        self._homes = list(homes)
        self._began = [0] * n
        self._epochs: dict[int, _Epoch] = {}
        self._lock = threading.Lock()

    def begin(self, split: int, node: str) -> int:
        """Begin a loop of a part that runs on a node; return the number of its epoch."""
        with self._lock:
            if self._told[split] is None:
                self._homes[split] = node
            epoch = self._began[split]
            self._began[split] += 1
            if epoch not in self._epochs:
                execution, bundles = self._executed(epoch)
                self._epochs[epoch] = _Epoch(epoch, execution, bundles, [deque() for _ in range(self._n)])
            return epoch

    def next(self, split: int, epoch: int) -> list[Piece] | None:
        """Return what a part is to take next; None at the end. Raises what computing it raises."""
        with self._lock:
            state = self._epochs[epoch]
            while not state.ready[split]:
                if not state.over and (self._equal or not state.left):
                    self._gather(state)
                if not self._deal(state, split) and state.over:
                    break
            return state.ready[split].popleft() if state.ready[split] else None

    def end(self, split: int, epoch: int) -> None:
        """Note that a part wants no more of an epoch; when none does, what runs is stopped."""
        with self._lock:
            state = self._epochs[epoch]
            state.gone.add(split)
            state.ready[split].clear()
            if len(state.gone) == self._n:
                state.bundles.close()  # type: ignore[attr-defined]
                del self._epochs[epoch]

    def schema(self) -> Any:
        """Return the Arrow schema."""
        with self._lock:
            return self._dataset._schema()

    def stats(self) -> str:
        """Return what the last execution did."""
        return self._dataset.stats()

    def _gather(self, state: _Epoch) -> None:
        """Wait for the next block, and take what else is there to choose from."""
        for wait in (True, *[False] * (_AHEAD * self._n - 1)):
            if not wait and not state.execution.at_hand():
                return
            bundle = self._next_of(state)
            if bundle is None:
                state.over = True
                return
            if bundle.rows:
                state.left += self._pieces(state.number, state.rows, bundle)
                state.rows += bundle.rows

    @staticmethod
    def _next_of(state: _Epoch) -> Any:
        if state.error is not None:
            raise state.error
        try:
            return next(state.bundles, None)
        except Exception as error:  # the user's
            state.error = error
            raise

    def _deal(self, state: _Epoch, asks: int) -> bool:
        """Give a part its next block, or with `equal` each part its share; tell whether there was something to give."""
        if not self._equal:
            if not state.left:
                return False
            state.left.sort(key=lambda piece: self._distance(piece, asks))
            state.ready[asks].append([state.left.pop(0)])
            return True
        share = sum(high - low for _, low, high, *_ in state.left) // self._shares()
        if not share:
            return False

        def take(split: int) -> list[Piece]:
            state.left.sort(key=lambda piece: self._distance(piece, split))
            return _take(state.left, share)

        self._give(state.ready, state.gone, take)
        return True

    def _executed(self, epoch: int) -> tuple[Any, Iterator[Bundle]]:
        """Execute the dataset for an epoch."""
        execution = self._dataset._execution()
        return execution, self._dataset._bundles(execution=execution)

    def _pieces(self, epoch: int, first: int, bundle: Bundle) -> list[Piece]:
        """What is to be given out of a block whose first row has that number in its epoch."""
        return [(bundle.ref, 0, bundle.rows, bundle.node, first)]

    def _shares(self) -> int:
        """How many parts of equal length there are."""
        return self._n

    def _give(
        self, ready: list[deque[list[Piece]]], gone: set[int], take: Callable[[int], list[Piece]]
    ) -> None:
        """Give each part what is taken for it, unless it wants no more."""
        for split in range(self._n):
            pieces = take(split)
            if split not in gone:
                ready[split].append(pieces)

    def _distance(self, piece: Piece, split: int) -> int:
        """0 for what the part's own node made, 2 for what lies where another part is, 1 for the rest."""
        node = piece[3]
        if not node or node == self._homes[split]:
            return 0
        return 2 if node in self._homes else 1


def _take(pieces: list[Piece], rows: int) -> list[Piece]:
    """Take so many rows from the front of pieces."""
    taken: list[Piece] = []
    while rows:
        ref, low, high, node, first = pieces.pop(0)
        end = min(high, low + rows)
        taken.append((ref, low, end, node, first))
        rows -= end - low
        if end < high:
            pieces.insert(0, (ref, end, high, node, first))
    return taken


def split_while_running(
    dataset: Dataset, n: int, equal: bool, homes: list[str | None], gather: Gather
) -> list[DataIterator]:
    """Return `n` iterators that share executions of a dataset; `gather` makes a dataset of blocks.

    Example: `split_while_running(ds, 2, True, [None, None], gather)`
    """
    actor = shoal.remote(num_cpus=0, max_concurrency=n + 1)(Coordinator).remote(dataset, n, equal, homes)
    return [SplitIterator(actor, number, dataset.context, gather) for number in range(n)]
