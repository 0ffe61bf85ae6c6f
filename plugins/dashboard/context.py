"""The session that is shown: looked at by one thread for all who ask, at most once a second."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from shoal.dashboard.model import Model
from shoal.errors import ConfigError, GetTimeout, ShoalError, SystemFailure
from shoal.interfaces.routes import Page, RouteContext
from shoal.looking import Watch, watch

if TYPE_CHECKING:
    from shoal.interfaces.looking import SessionSeen
    from shoal.interfaces.services import WebSetup

_log = logging.getLogger("shoal.dashboard")
_LOOK_SECONDS = 10.0
_AGE_SECONDS = 0.9  # a little less than the second after which browsers are told
_CLOSE_SECONDS = 2.0


class SessionContext(RouteContext):
    """What routes use of the session. From any thread; `model` changes under `lock` only."""

    def __init__(self, setup: WebSetup) -> None:
        self.session = setup.session
        self.folder = setup.folder
        self.is_live = setup.is_live
        self.cluster = setup.cluster
        self.lock = threading.RLock()
        self._joining = threading.Lock()
        self.model: Model = Model()
        self.pages: dict[str, Page] = {}
        self.ended = threading.Event()
        self._watch: Watch | None = None
        self._looked = self._looked_at_objects = -math.inf
        self._seen: SessionSeen | None = None
        self._joined = False
        self._callbacks: list[Callable[[], None]] = []

    def seen(self) -> SessionSeen:
        """Return what the session tells, at most a second old."""
        with self.lock:
            self.refresh()
            assert self._seen is not None
            return self._seen

    def refresh(self, objects: bool = False) -> None:
        """Look at the session, unless that was done less than a second ago; with `objects` at those as well.

        Raises GetTimeout, SystemFailure.
        """
        with self.lock:
            if time.monotonic() - (self._looked_at_objects if objects else self._looked) < _AGE_SECONDS:
                return
            if self._watch is None:
                self._watch = watch(self.folder)
                self.model = Model(self.model.version)  # a new connection brings everything again
            try:
                seen = self._watch.look(objects, _LOOK_SECONDS)
            except GetTimeout:
                raise
            except (ShoalError, OSError) as error:
                self._watch.close()
                self._watch = None  # the next one who asks tries to connect again
                raise SystemFailure(f"the session does not answer: {error}") from error
            if not objects and self._seen is not None:  # those that were told of last
                seen = attrs.evolve(seen, objects=self._seen.objects)
            self._seen = seen
            self._looked = time.monotonic()
            if objects:
                self._looked_at_objects = self._looked
            self.model.update(seen)

    def watched(self) -> Watch:
        """Return the connection, for other questions; call it with `lock` held."""
        self.refresh()
        assert self._watch is not None
        return self._watch

    def connect(self) -> None:
        """Join the cluster as a driver, once."""
        import shoal

        if not self.cluster or not self.is_live:
            raise ConfigError(
                f"session {self.session} is a program's own, or has ended: nobody else can join it. Start a cluster "
                "with `shoal start --head` and run the program there"
            )
        with self._joining:
            if not shoal.is_initialized():
                # The folder, not the address: the node may be one of a temp_dir that only its starter knows.
                shoal.init(address=self.folder, log_to_driver=False, namespace="_shoal", job_name="dashboard")
                self._joined = True

    def on_close(self, callback: Callable[[], None]) -> None:
        """Remember what to call when the server ends."""
        self._callbacks.append(callback)

    def ending(self) -> None:
        """Wake who waits for news: the server ends."""
        self.ended.set()

    def close(self) -> None:
        """Call what was to be called, and disconnect."""
        self.ended.set()
        for callback in self._callbacks:
            thread = threading.Thread(target=_guarded, args=(callback,), daemon=True)
            thread.start()
            thread.join(_CLOSE_SECONDS)
        if self._joined:
            import shoal

            shoal.shutdown()
        if self._watch is not None:
            self._watch.close()


def _guarded(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # a stranger's function may raise anything
        _log.exception("a function that was to be called at the end failed")
