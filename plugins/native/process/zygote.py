"""The zygote: a process that has imported what a worker needs, and forks workers in milliseconds.

It is forked from the daemon before that starts threads or opens anything, runs one thread, and talks to the daemon over
one packet socket:

    daemon → zygote   {worker, variables, path, folder, preload} with two descriptors: standard output and error
    daemon → zygote   the session's folder, first of all
    zygote → daemon   ["forked", worker, pid] | ["exited", pid, status]
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from shoal.native.process.parent import die_with_parent

_PACKET = 1 << 20
_IDLE_MILLISECONDS = 100  # without a request, until the zygote imports more


_tried: set[str] = set()  # modules that were asked for, whether they could be imported or not

RunWorker = Callable[[dict[str, Any]], None]


def fork_zygote(
    warm_up: Callable[[], None], begin: Callable[[str], RunWorker], idle: Callable[[], None]
) -> tuple[int, socket.socket]:
    """Fork the zygote off this process; return (pid, the daemon's end of the socket).

    In the zygote `warm_up` runs at once; `begin` when the session's folder is known, and returns what to call in each
    forked worker with the request; `idle` when there was nothing to do for a moment, to import what not every worker
    needs. A worker's process ends when what `begin` returned does.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PACKET)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    code = 1
    try:
        ours.close()
        die_with_parent(parent)
        warm_up()
        folder = theirs.recv(_PACKET)
        if folder:
            run_worker = begin(folder.decode())
            _freeze()
            _serve(theirs, run_worker, idle)
        code = 0
    finally:
        os._exit(code)


def _freeze() -> None:
    """Share what exists now with every worker: the collector must not write to it."""
    gc.collect()
    gc.freeze()


def _serve(link: socket.socket, run_worker: RunWorker, idle: Callable[[], None]) -> None:
    link.setblocking(False)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(link, select.POLLIN)
    poll.register(wake_read, select.POLLIN)
    patience: int | None = _IDLE_MILLISECONDS
    while True:
        ready = poll.poll(patience)
        if not ready:
            patience = None
            idle()
            _freeze()
        for fd, _ in ready:
            if fd == wake_read:
                _drain(wake_read)
                _reap(link)
            elif not _handle(link, run_worker, (wake_read, wake_write)):
                return


def _preload(modules: Sequence[str]) -> None:
    """Import what a worker wants to have from its beginning; the workers after it get it too."""
    missing = [name for name in modules if name not in sys.modules and name not in _tried]
    for name in missing:
        _tried.add(name)
        with contextlib.suppress(
            Exception
        ):  # a stranger's module may raise anything; the worker tries it again
            importlib.import_module(name)
    if missing:
        _freeze()


def _drain(fd: int) -> None:
    try:
        os.read(fd, 4096)
    except BlockingIOError:
        return


def _send(link: socket.socket, message: list[Any]) -> None:
    link.setblocking(True)
    link.send(msgspec.msgpack.encode(message))
    link.setblocking(False)


def _reap(link: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _send(link, ["exited", pid, status])


def _handle(link: socket.socket, run_worker: RunWorker, wakes: tuple[int, int]) -> bool:
    """Fork one worker. Returns False when the daemon is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(link, _PACKET, 2)
    except BlockingIOError:
        return True
    if not data:
        return False
    request = msgspec.msgpack.decode(data)
    _preload(request.get("preload", ()))
    parent = os.getpid()
    pid = os.fork()
    if pid:
        for descriptor in descriptors:
            os.close(descriptor)
        _send(link, ["forked", request["worker"], pid])
        return True
    code = 1
    try:
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        link.close()
        for wake in wakes:
            os.close(wake)
        for target, descriptor in enumerate(descriptors, start=1):
            os.dup2(descriptor, target)
            os.close(descriptor)
        run_worker(request)
        code = 0
    except BaseException:  # the last line of a worker: what went wrong goes to its log
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
