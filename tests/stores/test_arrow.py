"""Tables in shared memory, without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.errors import ObjectStoreFull
from shoal.interfaces.store import StoreSettings
from shoal.stores.arrow import ArrowStore
from shoal.testing.stores import oid

pa = pytest.importorskip("pyarrow")
MIB = 1 << 20


@pytest.fixture
def store(memory: Path) -> Iterator[ArrowStore]:
    opened = ArrowStore(StoreSettings(folder=str(memory), capacity=16 * MIB, client="one"))
    yield opened
    opened.close()


def test_a_buffer_is_the_object_s_own_memory(store: ArrowStore) -> None:
    buffer = store.create_buffer(oid(1), 1000)
    assert buffer.is_mutable
    address = buffer.address
    memoryview(buffer).cast("B")[:] = b"x" * 1000
    del buffer
    store.seal(oid(1))
    found = store.get_buffer(oid(1))
    assert found is not None
    assert found.address == address
    assert not found.is_mutable
    assert found.to_pybytes() == b"x" * 1000
    assert store.get_buffer(oid(2)) is None


def test_a_table_is_read_in_place(store: ArrowStore, memory: Path) -> None:
    table = pa.table({"n": pa.array(range(100_000)), "t": pa.array(["a", None] * 50_000)})
    store.write(oid(1), table)
    other = ArrowStore(StoreSettings(folder=str(memory), capacity=16 * MIB, client="two"))
    before = pa.total_allocated_bytes()
    found = other.read(oid(1))
    assert found.equals(table)
    assert pa.total_allocated_bytes() - before < 10_000
    assert other.read(oid(2)) is None
    store.delete(oid(1))
    store.write(oid(2), table.slice(0, 10))
    assert found.equals(table)
    del found
    other.close()


def test_a_table_that_does_not_fit_leaves_nothing(store: ArrowStore) -> None:
    with pytest.raises(ObjectStoreFull):
        store.write(oid(1), pa.table({"n": pa.array(range(4_000_000))}))
    assert store.statistics().used == 0
    store.write(oid(1), pa.table({"n": pa.array(range(10))}))


def test_tables_reuse_memory(store: ArrowStore) -> None:
    table = pa.table({"n": pa.array(range(100_000))})
    for number in range(100):
        store.write(oid(number), table)
        assert store.read(oid(number)).num_rows == 100_000
        store.delete(oid(number))
    assert store.statistics().recycled < 2 * MIB
