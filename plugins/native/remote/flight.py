"""Many parts on their way to the gateway at once, but only so many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.native.remote.tunnel import GatewayError
from shoal.native.wire import line as words

if TYPE_CHECKING:
    from shoal.native.remote.tunnel import Tunnel


class Flight:
    """Sends questions whose answers only say that all is well. Its methods wait, and are called without the lock."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._flying = 0
        self._wrong: GatewayError | None = None

    def send(self, name: str, *arguments: Any) -> None:
        """Send one when there is room. Raises GatewayError for what went wrong with earlier ones, SystemFailure."""
        self._tunnel.wait_for(lambda: self._flying < words.WRITE_AHEAD)
        self._raise()
        with self._tunnel.reactor.lock:
            self._flying += 1
            self._tunnel.ask(name, list(arguments), self._landed)
            self._tunnel.reactor.flush()

    def finish(self) -> None:
        """Wait until all have arrived. Raises GatewayError, SystemFailure."""
        self._tunnel.wait_for(lambda: not self._flying)
        self._raise()

    def _landed(self, wrong: str, value: Any) -> None:
        self._flying -= 1
        if wrong:
            self._wrong = GatewayError(wrong, value)

    def _raise(self) -> None:
        if self._wrong is not None:
            raise self._wrong
