"""The environments of a node's workers: built in threads, given to the workers that start, let go when none is left."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import attrs

from shoal.errors import RuntimeEnvSetup
from shoal.interfaces.environment import WorkerChanges
from shoal.native.process.environment_cache import EnvironmentCache, Hold
from shoal.native.process.environments import build_environment

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

Then = Callable[["bytes", str], None]  # (key, what failed or "")


@attrs.define(eq=False)
class _Built:
    changes: WorkerChanges
    folder: str = ""
    holds: list[Hold] = attrs.field(factory=list)
    used: float = attrs.field(factory=time.monotonic)


class Environments:
    """By key, which is the encoded environment. The daemon's loop calls everything here."""

    def __init__(self, daemon: Daemon, none: bytes, then: Then) -> None:
        self._daemon = daemon
        self._then = then
        self._none = none
        self._built: dict[bytes, _Built] = {none: _Built(WorkerChanges())}
        self._building: set[bytes] = set()
        config = daemon.config
        self._unused_seconds = config.idle_worker_seconds  # until what no worker uses is let go
        self._cache = EnvironmentCache(config.environment_cache_dir, config.environment_cache_bytes)

    def find(self, key: bytes) -> WorkerChanges | None:
        """Return an environment that is ready."""
        built = self._built.get(key)
        if built is None:
            return None
        built.used = time.monotonic()
        return built.changes

    def build(self, key: bytes, environment: dict[str, Any]) -> None:
        """Build one, unless that goes on already; `then` is called when it is ready, or cannot be."""
        if key in self._building or key in self._built:
            return
        self._building.add(key)
        folder = os.path.join(self._daemon.session.folder, "env", os.urandom(6).hex())
        most = self._daemon.config.environment_setup_seconds

        def work() -> None:
            holds: list[Hold] = []
            failed = ""
            changes = WorkerChanges()
            try:
                os.makedirs(folder)
                brought = self._daemon.packages.bring(environment)
                changes = build_environment(brought, folder, self._cache, holds, most)
            except Exception as error:  # a stranger's step may raise anything: it becomes the tasks' error
                failed = (
                    str(error) if isinstance(error, RuntimeEnvSetup) else f"{type(error).__name__}: {error}"
                )
                for hold in holds:
                    hold.close()
                shutil.rmtree(folder, ignore_errors=True)
            built = _Built(changes, folder, holds)
            self._daemon.call_soon(lambda: self._done(key, built, failed))

        threading.Thread(target=work, name="shoal-environment", daemon=True).start()

    def _done(self, key: bytes, built: _Built, failed: str) -> None:
        self._building.discard(key)
        if not failed:
            self._built[key] = built
        self._then(key, failed)

    def let_go(self, in_use: Collection[bytes]) -> None:
        """Let go of environments that no worker has had for a while."""
        now = time.monotonic()
        for key, built in list(self._built.items()):
            if key in in_use or key == self._none:
                built.used = now
            elif now - built.used > self._unused_seconds:
                del self._built[key]
                threading.Thread(
                    target=self._remove, args=(built,), name="shoal-environment", daemon=True
                ).start()

    def _remove(self, built: _Built) -> None:
        shutil.rmtree(built.folder, ignore_errors=True)
        for hold in built.holds:
            hold.close()
        if built.holds:
            self._cache.trim()
