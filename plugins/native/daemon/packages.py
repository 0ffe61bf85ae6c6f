"""Packages of runtime environments, fetched from the nodes that have them."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from shoal.errors import RuntimeEnvSetup, ShoalError
from shoal.native.process.packages import node_of, package_path, replace_uris

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon


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

    def _fetch(self, number: int, digest: str, path: str) -> None:
        node = self._daemon.nodes.find(number)
        if number == self._daemon.number or node is None or not node.alive:
            raise RuntimeEnvSetup(
                f"the package {digest} of the runtime_env was on node {number}, which is gone: begin the program again"
            )
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        new = f"{path}.{os.getpid()}.new"
        try:
            self._daemon.pulls.fetch_package(digest, node.address, new)
            os.rename(new, path)
        except (OSError, ShoalError, ValueError) as error:
            if os.path.exists(new):
                os.unlink(new)
            raise RuntimeEnvSetup(
                f"the package {digest} of the runtime_env could not be fetched from {node.address}: {error}"
            ) from error
