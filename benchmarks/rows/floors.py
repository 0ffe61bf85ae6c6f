"""The floor: what this machine and this Python can do at all, without any framework."""

from __future__ import annotations

import ctypes
import mmap
import multiprocessing
import os
import pickle
import platform
import socket
import struct
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from harness.declare import Rows
from harness.measure import Bench, Reading

from rows import data_floors, rllib_floors, serve_floors, train_floors, tune_floors

ROWS = Rows()
_LENGTH = struct.Struct("<I")


def beside(child: Callable[[socket.socket], None], work: Callable[[socket.socket], Reading]) -> Reading:
    """Run `child` in a forked process at the other end of a Unix socket while `work` runs here."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        child(theirs)
        os._exit(0)
    theirs.close()
    try:
        return work(ours)
    finally:
        ours.close()
        os.waitpid(pid, 0)


def _ping_pong(bench: Bench, ours: int, theirs: int) -> Reading:
    """64 bytes there and back over a Unix socket between two processes, both blocking, each held to a core."""
    allowed = os.sched_getaffinity(0)

    def echo(end: socket.socket) -> None:
        os.sched_setaffinity(0, {theirs})
        while data := end.recv(64):
            end.sendall(data)

    def work(end: socket.socket) -> Reading:
        message = b"x" * 64

        def step() -> None:
            end.sendall(message)
            end.recv(64)

        os.sched_setaffinity(0, {ours})
        try:
            return bench.rate(step)
        finally:
            os.sched_setaffinity(0, allowed)

    return beside(echo, work)


@ROWS.row("TCP copy of 1 GB", unit="GB/s")
def tcp_copy(bench: Bench) -> Reading:
    """From a file in memory to another process's memory, by sendfile over a TCP connection on this machine."""
    size = bench.size(1_000_000_000, 50_000_000)
    with tempfile.TemporaryFile(dir="/dev/shm") as file, socket.create_server(("127.0.0.1", 0)) as server:
        file.write(bytes(size))
        file.flush()

        def serve(end: socket.socket) -> None:
            with socket.create_connection(server.getsockname()) as sock:
                target = memoryview(mmap.mmap(-1, size))
                while end.recv(1):
                    position = 0
                    while position < size:
                        position += sock.recv_into(target[position:])
                    end.sendall(b"x")

        def work(end: socket.socket) -> Reading:
            sock, _ = server.accept()
            with sock:

                def step() -> None:
                    end.sendall(b"x")
                    position = 0
                    while position < size:
                        position += os.sendfile(sock.fileno(), file.fileno(), position, size - position)
                    end.recv(1)

                return bench.rate(step, size / 1e9)

        return beside(serve, work)


@ROWS.row("ping-pong")
def ping_pong(bench: Bench) -> Reading:
    """Between two cores. Left to itself the operating system picks one or two, and the rate changes threefold."""
    cores = sorted(os.sched_getaffinity(0))
    return _ping_pong(bench, cores[0], cores[-1])


@ROWS.row("ping-pong on one core")
def ping_pong_on_one(bench: Bench) -> Reading:
    """No core has to be woken: faster, and of no use to whoever wants two processes to work at once."""
    core = min(os.sched_getaffinity(0))
    return _ping_pong(bench, core, core)


def _receive(end: socket.socket) -> bytes:
    header = end.recv(_LENGTH.size, socket.MSG_WAITALL)
    return end.recv(_LENGTH.unpack(header)[0], socket.MSG_WAITALL) if header else b""


def _send(end: socket.socket, body: bytes) -> None:
    end.sendall(_LENGTH.pack(len(body)) + body)


def _serve_batches(end: socket.socket) -> None:
    functions = {1: lambda: b"ok"}
    while body := _receive(end):
        replies = [(number, functions[name]()) for number, name in pickle.loads(body)]
        _send(end, pickle.dumps(replies, 5))


@ROWS.row("bare loop, one by one")
def bare_sync(bench: Bench) -> Reading:
    """A pickled call to another process, run there, its pickled result back: the least that is a remote call."""

    def work(end: socket.socket) -> Reading:
        def step() -> None:
            _send(end, pickle.dumps([(1, 1)], 5))
            pickle.loads(_receive(end))

        return bench.rate(step)

    return beside(_serve_batches, work)


@ROWS.row("bare batched loop")
def bare_batched(bench: Bench) -> Reading:
    """The same with a thousand calls in a message, and a dictionary of results."""

    def work(end: socket.socket) -> Reading:
        def step() -> None:
            _send(end, pickle.dumps([(number, 1) for number in range(1000)], 5))
            results = dict(pickle.loads(_receive(end)))
            assert len(results) == 1000

        return bench.rate(step, 1000)

    return beside(_serve_batches, work)


@ROWS.row("pickle of a small tuple")
def small_pickle(bench: Bench) -> Reading:
    value = (1, b"ok", "name", None)

    def step() -> None:
        for _ in range(1000):
            pickle.loads(pickle.dumps(value, 5))

    return bench.rate(step, 1000)


def _memcpy(bench: Bench, source: np.ndarray[Any, Any]) -> Reading:
    """Copy into shared memory whose pages are there already, by one thread."""
    with (
        mmap.mmap(-1, source.nbytes) as pages,
        memoryview(pages) as target,
        source.data.cast("B") as bytes_,
    ):
        target[:] = bytes_

        def step() -> None:
            target[:] = bytes_

        return bench.rate(step, source.nbytes / 1e9)


@ROWS.row("memcpy 8 MB", unit="GB/s")
def memcpy_small(bench: Bench) -> Reading:
    return _memcpy(bench, np.ones(1_000_000, dtype=np.int64))


@ROWS.row("memcpy 800 MB", unit="GB/s")
def memcpy_large(bench: Bench) -> Reading:
    return _memcpy(bench, np.ones(100_000_000, dtype=np.int64))


@ROWS.row("memcpy 800 MB of zeros", unit="GB/s")
def memcpy_zeros(bench: Bench) -> Reading:
    """What Ray's own row copies: pages never written, which are all the same page and stay in the cache."""
    return _memcpy(bench, np.zeros(100 * 1024 * 1024, dtype=np.int64))


@ROWS.row("standard Pool.map")
def standard_map(bench: Bench) -> Reading:
    """100,000 calls of abs() in the standard library's pool of two processes."""
    n = bench.size(100_000, 5_000)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return bench.rate(lambda: pool.map(abs, range(n)), n)


@ROWS.row("standard Pool.imap")
def standard_imap(bench: Bench) -> Reading:
    """10,000 calls of abs(), one by one, in the standard library's pool of two processes."""
    n = bench.size(10_000, 500)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return bench.rate(lambda: list(pool.imap(abs, range(n))), n)


def parallel_calls(bench: Bench, backend: str) -> Reading:
    """2,000 calls of abs() through one of joblib's backends, with processes that are kept between the runs."""
    import joblib

    n = bench.size(2_000, 200)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        return bench.rate(lambda: joblib.Parallel()(joblib.delayed(abs)(-i) for i in range(n)), n)


@ROWS.row("joblib with loky")
def joblib_with_loky(bench: Bench) -> Reading:
    """2,000 calls of abs() through joblib's own backend, two processes."""
    return parallel_calls(bench, "loky")


@ROWS.row("futexes over 4 processes")
def futex_chain(bench: Bench) -> Reading:
    """A number through shared memory from process to process and back, each asleep until the one before wakes it."""
    call = ctypes.CDLL(None).syscall
    call.argtypes = [
        ctypes.c_long,
        ctypes.c_void_p,
        *[ctypes.c_int] * 2,
        *[ctypes.c_void_p] * 2,
        ctypes.c_int,
    ]
    number = {"x86_64": 202, "aarch64": 98}[platform.machine()]
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    words = (ctypes.c_uint32 * 1024).from_buffer(memory)
    places = [(16 * index, ctypes.addressof(words) + 64 * index) for index in range(4)]
    end = 0xFFFFFFFF

    def put(index: int, value: int) -> None:
        place, address = places[index]
        words[place] = value
        call(number, address, 1, 1, None, None, 0)

    def take(index: int, seen: int) -> int:
        place, address = places[index]
        while words[place] == seen:
            call(number, address, 0, ctypes.c_int32(seen).value, None, None, 0)
        return words[place]

    children = []
    for index in range(3):
        pid = os.fork()
        if pid == 0:
            value = 0
            while value != end:
                value = take(index, value)
                put(index + 1, value)
            os._exit(0)
        children.append(pid)
    now = 0

    def step() -> None:
        nonlocal now
        now += 1
        put(0, now)
        take(3, now - 1)

    try:
        return bench.rate(step)
    finally:
        put(0, end)
        for pid in children:
            os.waitpid(pid, 0)


ROWS.extend(data_floors.ROWS)
ROWS.extend(train_floors.ROWS)
ROWS.extend(serve_floors.ROWS)
ROWS.extend(tune_floors.ROWS)
ROWS.extend(rllib_floors.ROWS)
