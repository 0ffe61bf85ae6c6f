"""What one process knows of the services it calls: it listens to the controller, and sends on what waits."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import shoal
from shoal.errors import ShoalError
from shoal.interfaces.current import current
from shoal.serve.dispatch import Dispatcher
from shoal.serve.messages import CONTROLLER, NAMESPACE, ROUTES

_log = logging.getLogger("shoal.serve")
_LISTEN_SECONDS = 10.0  # one question to the controller
_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.05  # while something waits
_REPORT_SECONDS = 0.5
_RETRY_SECONDS = 0.2
_GIVE_UP_SECONDS = 60.0  # without a controller


class Callers:
    """The dispatchers of a process, and the thread that keeps them up to date."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.name = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._dispatchers: dict[str, Dispatcher] = {}
        self._routes_version = -1
        self._on_routes: Callable[[Any], None] | None = None
        self._event = threading.Event()
        self._thread: threading.Thread | None = None
        self._changed = False  # a new key: ask again at once
        self._controller: Any = None
        self._missing_since: float | None = None
        self._reported = 0.0
        self._node_id = shoal.get_runtime_context().get_node_id()

    def dispatcher(self, key: str) -> Dispatcher:
        """Return what calls a deployment; the first time it asks the controller who its replicas are."""
        with self._lock:
            found = self._dispatchers.get(key)
            if found is None:
                found = self._dispatchers[key] = Dispatcher(self._engine, key, self._node_id, self._event.set)
                self._listen_anew()
            return found

    def on_routes(self, callback: Callable[[Any], None]) -> None:
        """Call back with the routes, now and whenever they change."""
        with self._lock:
            self._on_routes = callback
            self._listen_anew()

    def _listen_anew(self) -> None:
        self._changed = True
        self._event.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="shoal-serve-caller", daemon=True)
            self._thread.start()

    # The thread

    def _run(self) -> None:
        asked: concurrent.futures.Future[Any] | None = None
        asked_at = 0.0
        while self._is_current():
            try:
                if asked is None or self._changed or time.monotonic() - asked_at > _ANSWER_SECONDS:
                    asked, asked_at = self._ask(), time.monotonic()
                self._serve_waiting()
                if asked.done():
                    answer, asked = asked, None
                    self._apply(answer.result())
                    self._missing_since = None
                    continue
            except (ShoalError, ValueError, concurrent.futures.CancelledError) as error:
                asked, self._controller = None, None
                if self._engine.closed:
                    break
                self._without_controller(error)
                time.sleep(_RETRY_SECONDS)
                continue
            waits = any(each.pending for each in list(self._dispatchers.values()))
            self._event.wait(_POLL_SECONDS if waits else 2.0)
            self._event.clear()
        for each in list(self._dispatchers.values()):
            each.fail_all("the session has ended")

    def _is_current(self) -> bool:
        now: Any = current.engine
        return now is self._engine and not self._engine.closed

    def _ask(self) -> concurrent.futures.Future[Any]:
        if self._controller is None:
            self._controller = shoal.get_actor(CONTROLLER, NAMESPACE)
        with self._lock:
            self._changed = False
            known = {key: each.version for key, each in self._dispatchers.items()}
            if self._on_routes is not None:
                known[ROUTES] = self._routes_version
        future: concurrent.futures.Future[Any] = self._controller.listen.remote(
            self.name, known, _LISTEN_SECONDS
        ).future()
        future.add_done_callback(lambda _: self._event.set())
        return future

    def _apply(self, news: dict[str, tuple[int, Any]]) -> None:
        for key, (version, value) in news.items():
            if key == ROUTES:
                self._routes_version = version
                if self._on_routes is not None:
                    self._on_routes(value)
            elif key in self._dispatchers:
                self._dispatchers[key].apply(version, value)

    def _serve_waiting(self) -> None:
        waiting = [each for each in list(self._dispatchers.values()) if each.pending]
        if not waiting:
            return
        refs = [ref for each in waiting for ref in each.unfinished()]
        if refs:
            shoal.wait(refs, num_returns=1, timeout=_POLL_SECONDS, fetch_local=False)
        for each in waiting:
            each.reap()
        now = time.monotonic()
        if now - self._reported > _REPORT_SECONDS and self._controller is not None:
            self._reported = now
            self._controller.queued.remote(self.name, {each.key: len(each.pending) for each in waiting})

    def _without_controller(self, error: Exception) -> None:
        now = time.monotonic()
        if self._missing_since is None:
            self._missing_since = now
            _log.debug("no controller of shoal.serve: %s", error)
        if isinstance(error, ValueError) or now - self._missing_since > _GIVE_UP_SECONDS:
            for each in list(self._dispatchers.values()):
                each.fail_all("shoal.serve is not running; begin with serve.run(...)")


_lock = threading.Lock()
_callers: list[Callers] = []


def callers() -> Callers:
    """Return this process's callers in the session that is there now; begins a session if there is none."""
    engine: Any = current.engine
    if engine is None:
        shoal.init()
        engine = current.engine
    with _lock:
        if not _callers or _callers[0]._engine is not engine:
            with contextlib.suppress(IndexError):
                _callers.pop()
            _callers.append(Callers(engine))
        return _callers[0]
