"""Packages of runtime environments, fetched from the nodes that have them."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from shoal.errors import RuntimeEnvSetup, ShoalError
from shoal.native.process.packages import has_packages, node_of, package_path, replace_uris

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_log = logging.getLogger("shoal.daemon")


class Packages:
    """Used by the threads that build environments."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._lock = threading.Lock()  # one at a time: two environments may want the same

    def bring(self, environment: dict[str, Any]) -> dict[str, Any]:
        """Return an environment whose packages are files of this node. Waits. Raises RuntimeEnvSetup."""
        return replace_uris(environment, self._here)

    def _here(self, uri: str, digest: str) -> str:
        number = node_of(uri)
        if number is None:
            return uri
        path = package_path(self._daemon.session.folder, digest)
        with self._lock:
            if not os.path.exists(path):
                self._fetch(number, digest, path)
        return path

    def keep(self, environment: dict[str, Any]) -> None:
        """Have the packages of something that may outlive whoever asked for it here too. Does not wait."""
        if has_packages(environment):
            threading.Thread(
                target=self._keep, args=(environment,), name="shoal-packages", daemon=True
            ).start()

    def _keep(self, environment: dict[str, Any]) -> None:
        try:
            self.bring(environment)
        except RuntimeEnvSetup as error:
            _log.warning("a detached actor may not restart elsewhere: %s", error)

    def _fetch(self, number: int, digest: str, path: str) -> None:
        """Copy a package from the node that it is named to be on, or else from any that has it."""
        nodes = self._daemon.nodes
        others = [other for other in nodes.living() if other != number]
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        new = f"{path}.{os.getpid()}.new"
        first: Exception | None = None
        for source in (number, *others):
            node = nodes.find(source)
            if node is None or not node.alive:
                continue
            try:
                self._daemon.pulls.fetch_package(digest, node.address, new)
                os.rename(new, path)
            except (OSError, ShoalError, ValueError) as error:
                first = first or error
                if os.path.exists(new):
                    os.unlink(new)
            else:
                return
        node = nodes.find(number)
        if node is None or not node.alive:
            raise RuntimeEnvSetup(
                f"the package {digest} of the runtime_env was on node {number}, which is gone, and no other has it: "
                "begin the program again"
            )
        raise RuntimeEnvSetup(
            f"the package {digest} of the runtime_env could not be fetched from {node.address}: {first}"
        ) from first
