"""Files of a runtime_env, sent to the gateway's node once each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError, RuntimeEnvSetup
from shoal.native.process.packages import node_of, replace_uris
from shoal.native.remote.flight import Flight
from shoal.native.remote.tunnel import GatewayError
from shoal.native.wire import line as words

if TYPE_CHECKING:
    from shoal.native.remote.tunnel import Tunnel


class Packages:
    """Knows what was sent. A package is named by its SHA-256, so equal ones are sent once, by whatever client."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._sent: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def send_all(self, environment: Mapping[str, Any]) -> dict[str, Any]:
        """Return a checked runtime_env in which the paths of packages are those on the gateway's node.

        Takes the lock and waits. Raises RuntimeEnvSetup, SystemFailure.
        """
        return replace_uris(environment, self._send)

    def _send(self, path: str, digest: str) -> str:
        known = self._sent.get(digest)
        if known is not None:
            return known
        if node_of(path) is not None:
            return path  # a node has it already
        try:
            number = next(self._numbers)  # two threads may send the same one
            found = str(self._tunnel.ask_and_wait("package", number, digest, os.path.getsize(path)))
            if not found:
                self._send_parts(path, number)
                found = str(self._tunnel.ask_and_wait("package_end", number))
        except GatewayError as error:
            kind = ConfigError if error.kind == "ConfigError" else RuntimeEnvSetup
            raise kind(f"the package {path} could not be sent to the cluster: {error.text}") from None
        self._sent[digest] = found
        return found

    def _send_parts(self, path: str, number: int) -> None:
        flight = Flight(self._tunnel)
        with open(path, "rb") as file:
            while part := file.read(words.CHUNK):
                flight.send("package_part", number, part)
        flight.finish()
