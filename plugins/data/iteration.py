"""From blocks to what a loop wants: rows, batches, shuffled batches, tensors."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

import shoal
from shoal.data.block import Block, concat, take_rows
from shoal.data.execution.bundle import Bundle

T = TypeVar("T")
_GET_TIMEOUT = 600.0  # seconds for which a block that was made may take to come


def fetched(bundles: Iterable[Bundle]) -> Iterator[Block]:
    """Yield the blocks of bundles.

    Example: `for block in fetched(execution): ...`
    """
    for bundle in bundles:
        yield shoal.get(bundle.ref, timeout=_GET_TIMEOUT)


def shuffled(blocks: Iterable[Block], rows: int, batch: int | None, seed: int | None) -> Iterator[Block]:
    """Yield tables whose rows were drawn at random from a buffer of at least `rows` rows.

    While blocks come, each table is `batch` rows (None: half of the buffer) from the buffer. All rows come out once.

    Example: `shuffled(blocks, 10_000, 256, seed=1)`
    """
    random = np.random.default_rng(seed)
    batch = batch or max(1, rows // 2)
    buffer: list[Block] = []
    held = 0
    for block in blocks:
        if not block.num_rows:
            continue
        buffer.append(block)
        held += block.num_rows
        if held < rows + batch:
            continue
        whole = concat(buffer)
        whole = take_rows(whole, random.permutation(held))
        out = 0
        while held - out >= rows + batch:
            yield whole.slice(out, batch)
            out += batch
        buffer, held = [whole.slice(out)], held - out
    if held:
        yield take_rows(concat(buffer), random.permutation(held))


def ahead(items: Iterator[T], count: int) -> Iterator[T]:
    """Yield the items of an iterator that a thread reads up to `count` ahead. It ends when the caller stops.

    Example: `for batch in ahead(batches, 2): ...`
    """
    ready: queue.Queue[Callable[[], T]] = queue.Queue(count)
    stopped = threading.Event()

    def give(item: Callable[[], T]) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for item in items:
                if not give(lambda item=item: item):  # type: ignore[misc]
                    return
        except BaseException as error:
            give(_raiser(error))
        else:
            give(_raiser(StopIteration()))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=read, name="shoal-data-ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                item = ready.get()()
            except StopIteration:
                return
            yield item
    finally:
        stopped.set()
        thread.join()


def _raiser(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail
