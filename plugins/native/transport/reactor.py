"""The loop that serves a process's connections, driven by whoever waits (leader and followers).

A thread that waits for something becomes the *leader*: it polls the sockets itself and handles what arrives, so a
synchronous call pays no hand-off between threads. Other waiting threads are followers; the leader wakes a follower
whose condition has come true, and passes the lead on when it leaves. A background thread leads only when nobody has
waited for a few milliseconds, so that messages are served while the program computes. The pattern is Schmidt et al.,
"Leader/Followers" (PLoP 2000).

State of the process is changed under `lock` only. Callbacks run under it; what must not (user code, futures) is
queued with `call_soon_unlocked`.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from shoal.native.transport.spin import LONGEST_SPIN_SECONDS, Spin

if TYPE_CHECKING:
    import asyncio

    from shoal.native.transport.connection import Connection, Message

_log = logging.getLogger(__name__)

_TRUST_SECONDS = 0.005  # how long an asyncio loop that came round is left alone
_WATCH_SECONDS = 0.001  # how often the background thread looks while the program is active
_QUIET_LOOKS = 4  # how many looks without anybody waiting until the background thread leads


class Readable(Protocol):
    """What the loop can watch."""

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        ...

    def on_readable(self) -> None:
        """Handle input; called under the lock."""
        ...


class _Follower:
    __slots__ = ("done", "gate", "woken")

    def __init__(self, done: Callable[[], bool]) -> None:
        self.done = done
        self.gate = threading.Lock()
        self.gate.acquire()
        self.woken = False

    def wake(self) -> None:
        if not self.woken:
            self.woken = True
            self.gate.release()


class Listener:
    """Accepts connections on a listening socket and hands them to `accept`."""

    __slots__ = ("accept", "sock")

    def __init__(self, sock: socket.socket, accept: Callable[[socket.socket], None]) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.accept = accept

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    def on_readable(self) -> None:
        """Accept all that wait."""
        while True:
            try:
                sock, _ = self.sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                _log.exception("accept failed")
                return
            self.accept(sock)


class Reactor:
    """Watches descriptors and timers of one process. See the module's text for who runs it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._watched: dict[int, Readable] = {}
        self._dirty: list[Connection] = []  # connections with output
        self.gatherers: list[
            Callable[[], None]
        ] = []  # turn gathered work into messages; called before a flush
        self.pending = False  # a gatherer has work
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._unlocked: deque[Callable[[], None]] = deque()
        self._leader = threading.RLock()  # a callback of the user's, run by the leader, may wait itself
        self._leads = 0  # grows whenever a thread of the program waits: a sign of activity
        self._followers: list[_Follower] = []
        self._background: threading.Thread | None = None
        self._background_gate = threading.Semaphore(0)
        self._background_idle = False  # the background thread leads and blocks in poll
        self._background_dozes = False  # it looks rarely, since a thread of the program serves for long
        self._promised = 0  # futures with callbacks: nobody waits, and still somebody wants to know at once
        self._kicked = False
        self._was_kicked = False  # the program is active: look often for a while instead of sleeping in poll
        self.spin: Spin | None = None  # whether to look a few times before sleeping; None: never
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._flushes_soon = False
        self._pumps = 0
        self._trusting = False  # the asyncio loop has come round lately
        self.closed = False

    # What is watched

    def watch(self, readable: Readable) -> None:
        """Call `readable.on_readable()` whenever it has input."""
        fd = readable.fileno()
        self._watched[fd] = readable
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor; unknown or closed ones are ignored."""
        if self._watched.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except (OSError, ValueError):
                return  # closed already: the kernel has dropped it

    def add_connection(self, connection: Connection) -> None:
        """Serve a connection; its `on_close` must call `drop_connection` with the descriptor it had."""
        if connection.watched:
            self.watch(connection)
        connection.served_by(self)
        if connection.has_output:
            self.mark(connection)

    def mark(self, connection: Connection) -> None:
        """Note that a connection has output, to be written at the next flush."""
        self._dirty.append(connection)

    def send(self, connection: Connection, message: Message) -> None:
        """Queue a message, to be written at the next flush."""
        connection.send(message)
        self._dirty.append(connection)
        if self._background_idle:
            self.nudge()  # the caller may not wait for anything: somebody has to write it

    def flush(self) -> None:
        """Write what waits, as far as the sockets take it. Called with the lock held."""
        if self.pending:
            self.pending = False
            for gather in self.gatherers:
                gather()
        while self._dirty:  # a connection that goes through another one leaves that with output
            dirty = self._dirty
            self._dirty = []
            for connection in dirty:
                if (
                    connection.has_output
                    and not connection.closed
                    and not connection.blocked
                    and connection.flush()
                    and connection.watched
                ):
                    self._epoll.modify(connection.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Run `callback` under the lock, not before `seconds` have passed. Called with the lock held."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._timer_numbers), callback))
        if self._timers[0][2] is callback:
            self.nudge()

    def call_soon_unlocked(self, callback: Callable[[], None]) -> None:
        """Run `callback` without the lock, in the thread that leads, after the current events."""
        self._unlocked.append(callback)
        if self._background_idle:
            self.wake()

    def wake(self) -> None:
        """Make the leader's poll return."""
        wake = self._wake
        if wake < 0:
            return
        try:
            os.eventfd_write(wake, 1)
        except (BlockingIOError, OSError):
            return  # it is awake, or closed

    # Running

    def poll(self, timeout: float | None) -> None:
        """Wait for events up to `timeout` seconds and handle them. The caller leads and does not hold the lock."""
        if self._timers:
            until = max(0.0, self._timers[0][0] - time.monotonic())
            timeout = until if timeout is None else min(timeout, until)
        if self._unlocked:
            timeout = 0
        if self.closed:
            return
        events = self._events(-1 if timeout is None else timeout)
        self._background_idle = False  # whoever leads is awake
        with self.lock:
            watched = self._watched
            for fd, mask in events:
                if fd == self._wake:
                    self._drain_wake()
                    continue
                readable = watched.get(fd)
                if readable is None:
                    continue
                if mask & ~select.EPOLLOUT:
                    readable.on_readable()
                if mask & select.EPOLLOUT:
                    self._on_writable(fd, readable)
            if self._timers:
                self._run_timers()
            if self._dirty or self.pending:
                self.flush()
        while self._unlocked:
            self._run_unlocked()
        if self._followers:
            self._wake_done()

    def _events(self, timeout: float) -> list[tuple[int, int]]:
        """Return what is ready, waiting up to `timeout` seconds (−1: without end)."""
        poll = self._epoll.poll
        spin = self.spin
        if timeout == 0 or spin is None:
            return poll(timeout, 64)
        now = time.perf_counter
        began = now()
        if spin.spinning:
            end = began + LONGEST_SPIN_SECONDS
            while True:
                events = poll(0, 64)
                if events or now() >= end:
                    break
            if not events:
                events = poll(timeout, 64)
        else:
            events = poll(timeout, 64)
        spin.waited(now() - began)
        return events

    def _drain_wake(self) -> None:
        self._was_kicked = self._kicked
        self._kicked = False
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return

    def _on_writable(self, fd: int, readable: Any) -> None:
        if readable.closed:
            return
        if not readable.flush():
            self._epoll.modify(fd, select.EPOLLIN)

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, callback = heapq.heappop(self._timers)
            callback()

    def _run_unlocked(self) -> None:
        try:
            callback = self._unlocked.popleft()
        except IndexError:
            return  # another thread took it
        try:
            callback()
        except Exception:  # user code in a future's callback may raise anything
            _log.exception("a callback raised")

    def _wake_done(self) -> None:
        with self.lock:
            for follower in list(self._followers):
                if follower.done():
                    self._followers.remove(follower)
                    follower.wake()

    # Waiting

    def run_until(self, done: Callable[[], bool], deadline: float | None = None) -> bool:
        """Serve until `done()`; return False if `deadline` (of time.monotonic) passes first.

        `done` must be cheap and is called with or without the lock held. Raises nothing of its own but lets
        KeyboardInterrupt through.
        """
        self._leads += 1
        while True:
            if self._leader.acquire(blocking=False):
                try:
                    return self._lead(done, deadline)
                finally:
                    self._leader.release()
                    self._pass_on()
            if self._follow(done, deadline):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return done()

    def _lead(self, done: Callable[[], bool], deadline: float | None) -> bool:
        if self._dirty or self.pending:
            with self.lock:
                self.flush()
        while not done():
            if self.closed:
                return done()
            if deadline is None:
                self.poll(None)
            else:
                left = deadline - time.monotonic()
                if left <= 0:
                    self.poll(0)
                    return done()
                self.poll(left)
        return True

    def _follow(self, done: Callable[[], bool], deadline: float | None) -> bool:
        follower = _Follower(done)
        with self.lock:
            if self._dirty or self.pending:
                self.flush()
            if done() or self.closed:
                return True
            self._followers.append(follower)
        if self._background_idle:
            self.wake()
        # The bound is a safety net: a lead that was passed on while we were about to sleep is found again.
        timeout = 0.05 if deadline is None else max(0.0, min(0.05, deadline - time.monotonic()))
        try:
            follower.gate.acquire(timeout=timeout)
        finally:
            with self.lock:
                if follower in self._followers:
                    self._followers.remove(follower)
        return done()

    def _pass_on(self) -> None:
        if self._followers:
            with self.lock:
                for follower in self._followers:
                    follower.wake()
                    return
        if self._background_dozes:
            self._background_dozes = False
            self._background_gate.release()
        elif self._background is not None and (self._dirty or self.pending or self._unlocked):
            self.nudge()

    # The background thread

    def start_background(self, name: str) -> None:
        """Start the thread that serves while nobody waits."""
        self._background = threading.Thread(target=self._serve_in_background, name=name, daemon=True)
        self._background.start()

    def promise(self) -> None:
        """Serve without pause, since a callback is to run as soon as it can. Called with the lock held."""
        self._promised += 1
        if self._promised == 1 and not self._background_idle:
            self._background_gate.release()

    def keep_promise(self) -> None:
        """Undo one `promise`."""
        with self.lock:
            self._promised -= 1

    def nudge(self) -> None:
        """Tell that a timer or output was left: the background thread is to look within a millisecond or so."""
        if self._background_idle and not self._kicked:
            self._kicked = True
            self.wake()

    def _serve_in_background(self) -> None:
        quiet = 0
        seen = -1
        pause = _WATCH_SECONDS
        while not self.closed:
            self._background_gate.acquire(timeout=pause)
            if self._loop is not None:
                pause = self._guard_loop()
                continue
            if self._dirty or self.pending:
                with self.lock:
                    self.flush()
            if self._leads != seen:
                seen = self._leads
                quiet = 0
                pause = _WATCH_SECONDS
                if not self._promised:
                    continue
            quiet += 1
            if quiet < _QUIET_LOOKS and not self._promised:
                continue
            if not self._leader.acquire(blocking=False):
                pause = min(0.05, pause * 2)  # somebody waits for long: it serves
                self._background_dozes = pause > 0.002
                continue
            pause = _WATCH_SECONDS
            self._background_dozes = False
            quiet = 0
            try:
                self._lead_in_background()
            finally:
                self._leader.release()
                self._pass_on()

    def _lead_in_background(self) -> None:
        leads = self._leads
        while not self.closed and not self._followers and self._leads == leads and self._loop is None:
            self._background_idle = True
            try:
                if self._dirty or self.pending:
                    with self.lock:
                        self.flush()
                if self._followers or self._unlocked:
                    self.poll(0)
                else:
                    self.poll(None)
            except Exception:  # the last line of this thread: a fault must be seen, and must not end service
                _log.exception("serving connections failed")
            finally:
                self._background_idle = False
            if self._was_kicked:
                self._was_kicked = False
                if not self._promised:
                    return

    # With asyncio

    def attach_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let an asyncio loop serve the connections from now on; called in the loop's thread."""
        self._loop = loop
        self._loop_thread = threading.get_ident()
        loop.add_reader(self._epoll.fileno(), self.pump)
        self.wake()

    def detach_loop(self) -> None:
        """Undo `attach_loop`."""
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._loop = None
            self._loop_thread = 0

    def flush_soon(self) -> None:
        """Write what waits: in the asyncio loop's thread with what else comes in this turn, elsewhere at once.

        Called with the lock held. A loop that does not come round is helped out by the background thread.
        """
        if self._loop is None or threading.get_ident() != self._loop_thread:
            self.flush()
        elif not self._flushes_soon:
            self._flushes_soon = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushes_soon = False
        with self.lock:
            self.flush()

    def pump(self) -> None:
        """Handle what is ready, without waiting. Runs in the asyncio loop."""
        self._pumps += 1
        if self._leader.acquire(blocking=False):
            try:
                self.poll(0)
            finally:
                self._leader.release()
                self._pass_on()

    def _guard_loop(self) -> float:
        """Serve for an asyncio loop that does not come round. Return how long to pause before the next look."""
        seen = self._pumps
        if self._trusting:
            # It came round a moment ago. To be woken with it by each message would cost it the interpreter's lock.
            self._background_gate.acquire(timeout=_TRUST_SECONDS)
            if self._dirty or self.pending:
                with self.lock:
                    self.flush()
            self._trusting = self._pumps != seen
            return 0.0
        waiter = select.poll()
        waiter.register(self._epoll.fileno(), select.POLLIN)
        wait = None
        if self._timers:
            wait = max(0.0, self._timers[0][0] - time.monotonic()) * 1000
        self._background_idle = True
        ready = waiter.poll(wait)
        self._background_idle = False
        if self._dirty or self.pending:
            with self.lock:
                self.flush()
        if ready or self._timers or self._followers:
            time.sleep(0.002)
            if self._pumps == seen:
                self.pump()
            else:
                self._trusting = True
        return 0.0005

    def close(self) -> None:
        """Stop watching; wake every waiter. Connections are the caller's to close. A second close does nothing."""
        if self.closed:
            return
        with self.lock:
            self.closed = True
            for follower in self._followers:
                follower.wake()
        self.wake()
        self._background_gate.release()
        background = self._background
        if background is not None and background is not threading.current_thread():
            background.join(timeout=2)
            if background.is_alive():
                return  # it is inside a callback: the descriptors go with the process
        if not self._leader.acquire(timeout=1):
            return  # a thread of the program is still on its way out
        try:
            with self.lock:
                os.close(self._wake)
                self._wake = -1
                self._epoll.close()
        finally:
            self._leader.release()
