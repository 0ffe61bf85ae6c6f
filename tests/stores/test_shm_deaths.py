"""Processes that are killed at any moment leave a store whose accounts are right to the byte."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from shoal.interfaces.store import StoreSettings
from shoal.stores.shm import ShmStore
from shoal.testing.store_child import ChildStore
from shoal.testing.stores import oid, put, read

MIB = 1 << 20
CAPACITY = 32 * MIB

BUSY = """
import random, sys
from shoal.interfaces.store import StoreSettings
from shoal.stores.shm import ShmStore
folder, client, seed = sys.argv[1:]
choose = random.Random(int(seed))
store = ShmStore(StoreSettings(folder=folder, capacity=32 << 20, client=client))
sealed, views = [], []
number = int(seed) << 32
while True:
    step = choose.random()
    if step < 0.5 or not sealed:
        number += 1
        name = number.to_bytes(20, "big")
        size = choose.randrange(200_000)
        block = store.create(name, size)
        block[:] = bytes([number % 256]) * size
        block.release()
        if choose.random() < 0.9:
            store.seal(name)
            sealed.append(name)
        elif choose.random() < 0.9:
            store.abort(name)
    elif step < 0.6:
        views.append(store.get(choose.choice(sealed)))
    else:
        assert store.delete(sealed.pop(choose.randrange(len(sealed))))
    if len(views) > 3 or len(sealed) > 20:
        views.clear()
        while len(sealed) > 10:
            store.delete(sealed.pop())
    print(number, flush=True)
"""


def settings(folder: Path, client: str) -> StoreSettings:
    return StoreSettings(folder=str(folder), capacity=CAPACITY, client=client)


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_busy_process_killed_at_any_moment(memory: Path, seed: int) -> None:
    store = ShmStore(settings(memory, "survivor"))
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, str(memory), "victim", str(seed)], stdout=subprocess.PIPE
    ) as victim:
        assert victim.stdout is not None
        for _ in range(random.Random(seed).randrange(1, 400)):
            victim.stdout.readline()
        victim.kill()
    store.sweep("victim")
    left = store.ids()
    for name in left:
        data = read(store, name)
        assert data is not None
        assert set(data) <= {int.from_bytes(name, "big") % 256}
    on_disk = sum(entry.stat().st_size for entry in os.scandir(memory) if len(entry.name) == 40)
    assert store.statistics().used == on_disk
    assert store.statistics().recycled == 0
    assert sorted(entry.name for entry in os.scandir(memory) if len(entry.name) != 40) == [".accounts"]
    for name in left:
        assert store.delete(name)
    assert store.statistics().used == 0
    store.sweep("victim")
    put(store, oid(1), bytes(CAPACITY // 2))
    store.close()


def test_what_a_dead_creator_had_not_noticed_is_swept(memory: Path) -> None:
    store = ShmStore(settings(memory, "survivor"))
    creator = ChildStore(ShmStore, settings(memory, "creator"))
    creator.ask("put", oid(1).hex(), "ab" * 1000)
    creator.ask("put", oid(2).hex(), "cd" * 1000)
    assert store.delete(oid(1))
    creator.kill()
    store.sweep("creator")
    assert store.ids() == [oid(2)]
    assert store.statistics().used == os.stat(memory / oid(2).hex()).st_size
    store.close()


def test_a_client_s_name_can_be_used_again(memory: Path) -> None:
    store = ShmStore(settings(memory, "survivor"))
    for number in range(3):
        again = ChildStore(ShmStore, settings(memory, "again"))
        again.ask("put", oid(number).hex(), "ab" * 1000)
        again.ask("create", oid(100).hex(), "ab" * 1000)
        again.kill()
        if number:
            store.sweep("again")
    assert store.ids() == [oid(0), oid(1), oid(2)]
    for number in range(3):
        assert store.delete(oid(number))
    assert store.statistics().used == 0
    store.close()


def test_slots_of_the_accounts_are_used_again(memory: Path) -> None:
    """More processes than the accounts have slots may come and go."""
    for number in range(20):
        store = ShmStore(settings(memory, f"client-{number}"))
        put(store, oid(1), b"x")
        store.delete(oid(1))
        store.close()
    last = ShmStore(settings(memory, "last"))
    assert last._accounts.slot == 0
    last.close()
