"""The client's side of the line to its gateway: channels and questions, over connections that may break."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from shoal.errors import ShoalError, SystemFailure
from shoal.native.remote.channels import ChannelConnection
from shoal.native.transport.connection import Connection, Handshake, Message, connect_tcp
from shoal.native.transport.links import Links
from shoal.native.transport.reactor import Reactor
from shoal.native.wire import line as words
from shoal.native.wire import preamble
from shoal.native.wire.handshake import ClientHandshake
from shoal.native.wire.line import BrokenLine, Line, size_of

_log = logging.getLogger("shoal")

_CONNECT_SECONDS = 10.0  # that one try may take
_PING_SECONDS = 5.0
_SILENCE_SECONDS = 20.0  # without a word from the gateway, until the connection counts as broken
_TELL_SECONDS = 0.2  # how long what has arrived may go unconfirmed
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
_TRIES_TO_ASK = 3
_ANSWER_SECONDS = 300.0  # a gateway that is connected and does not answer for so long is broken
_GOODBYE_SECONDS = 2.0

Then = Callable[[str, Any], None]


class Tunnel:
    """One client's line. All methods but those that say so are called with the reactor's lock held."""

    def __init__(
        self, address: str, token: bytes, links: Links, gateway: bytes, driver: bytes, grace: float
    ) -> None:
        """`address` is the node's, `gateway` and `driver` are the names that it has given us.

        After `grace` seconds without a connection the line is over, on both sides.
        """
        self.reactor = Reactor()
        self.address = address
        self.ended = False
        self.broken: ShoalError | None = None
        self.up = False  # connected, and what was lost on the way has been sent again
        self.connections = 0  # how many there were, one after the other
        self.on_lost: Callable[[ShoalError], None] = lambda error: None
        self.on_caller: Callable[[int, bool], ChannelConnection | None] = lambda number, far: None
        self._token = token
        self._links = links
        self._gateway = gateway
        self._driver = driver
        self._grace = grace
        self._line = Line()
        self._link: Connection | None = None
        self._channels: dict[int, ChannelConnection] = {}
        self._channel_numbers = itertools.count(2, 2)  # even ones are ours
        self._asked: dict[int, Then] = {}
        self._ask_numbers = itertools.count(1)
        self._down_since = time.monotonic()
        self._why = "not connected yet"
        self._tries = 0
        self._heard = 0.0
        self._telling = False
        self._pinging = False

    # Connections

    def begin(self, timeout: float) -> None:
        """Connect for the first time, and wait for it. Takes the lock. Raises SystemFailure."""
        with self.reactor.lock:
            self._connect()
        deadline = time.monotonic() + timeout
        if not self.reactor.run_until(lambda: self.up or self.broken is not None, deadline):
            with self.reactor.lock:
                self.fail(
                    SystemFailure(
                        f"the gateway at {self.address} did not answer within {timeout:g} s: {self._why}"
                    )
                )
        if self.broken is not None:
            raise self.broken

    def _connect(self) -> None:
        if self.ended or self._link is not None:
            return
        self._tries += 1
        # A gateway that is gone and a network that ends connections look the same: every third time its node is asked.
        asks = self._tries % _TRIES_TO_ASK == 0
        try:
            sock = connect_tcp(self.address)
        except OSError as error:
            self._why = str(error)
            self._try_later()
            return
        link = self._links.calling(
            sock,
            self.address,
            preamble.naming(preamble.CLIENT if asks else self._gateway),
            ClientHandshake(self._token, self._driver),
            self._on_look if asks else self._on_message,
            self._on_close,
            self._look if asks else self._on_open,
        )
        link.data = link.fileno()
        self._link = link
        self.reactor.add_connection(link)
        self.reactor.call_later(_CONNECT_SECONDS, lambda: self._too_late(link))

    def _too_late(self, link: Connection) -> None:
        if self._link is link and not self.up:
            self._why = f"no answer within {_CONNECT_SECONDS:g} s"
            link.close()

    def _look(self, link: Connection) -> None:
        link.send([words.LOOK, self._gateway])
        link.attend()

    def _on_look(self, link: Connection, message: Message) -> None:
        if message[:1] == [words.LIVES] and not message[1]:
            self.fail(
                SystemFailure(
                    f"this client's gateway at {self.address} is gone, and with it what the program ran in the "
                    "cluster; call shutdown() and init() to begin again"
                )
            )
        else:
            link.close()

    def _on_open(self, link: Connection) -> None:
        if link.peer != self._gateway:
            self._why = "another process answered than the gateway"
            link.close_soon()
            return
        link.send([words.RESUME, self._line.received])
        link.attend()

    def _on_close(self, link: Connection) -> None:
        self.reactor.unwatch(link.data)
        if self._link is not link:
            return
        self._link = None
        if self.up:
            self.up = False
            self._down_since = time.monotonic()
            self._tries = 0
            self._why = "the connection broke"
            if not self.ended:
                _log.warning("the connection to %s broke; trying again for %g s", self.address, self._grace)
        elif self._why == "the connection broke":
            self._why = "it was closed again at once: nobody waits for this client there (any more)"
        self._try_later()

    def _try_later(self) -> None:
        if self.ended:
            return
        left = self._down_since + self._grace - time.monotonic()
        if left <= 0:
            self.fail(
                SystemFailure(
                    f"the connection to {self.address} broke and could not be made again within "
                    f"{self._grace:g} s (client_grace_seconds): {self._why}. The cluster has ended what this program "
                    "ran there; call shutdown() and init() to begin again"
                )
            )
            return
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._tries) * random.uniform(0.7, 1.0)
        self.reactor.call_later(min(pause, left), self._connect)

    def _on_message(self, link: Connection, message: Message) -> None:
        if link is not self._link:
            return
        self._heard = time.monotonic()
        try:
            self._handle(link, message)
        except (BrokenLine, IndexError, TypeError, ValueError) as error:
            self.fail(SystemFailure(f"the gateway at {self.address} sent what cannot be: {error!r}"))

    def _handle(self, link: Connection, message: Message) -> None:
        kind = message[0]
        if kind == words.NUMBERED:
            _, number, inner = message
            if self._line.receive(number, size_of(inner)):
                self._on_numbered(inner)
            self._tell(False)
        elif kind == words.RECEIVED:
            self._line.arrived(message[1])
        elif kind == words.RESUME:
            self._on_resume(link, message[1])
        elif kind == words.PING:
            self._say([words.PONG])
        elif kind == words.BYE:
            self.fail(SystemFailure(f"the cluster has ended this client's session: {message[1]}"))
        elif kind != words.PONG:
            raise ValueError(f"a message of unknown kind {kind!r}")

    def _on_resume(self, link: Connection, number: int) -> None:
        again = self._line.resume(number)
        if self.connections:
            _log.warning("connected to %s again", self.address)
        self.connections += 1
        self.up = True
        self._tries = 0
        for message in again:
            link.send(message)
        link.attend()
        if not self._pinging:
            self._pinging = True
            self.reactor.call_later(_PING_SECONDS, self._ping)

    def _ping(self) -> None:
        self._pinging = False
        if self.ended or not self.up or self._link is None:
            return
        if time.monotonic() - self._heard > _SILENCE_SECONDS:
            self._link.close()
            return
        self._say([words.PING])
        self._pinging = True
        self.reactor.call_later(_PING_SECONDS, self._ping)

    def _say(self, message: Message) -> None:
        if self.up and self._link is not None:
            self.reactor.send(self._link, message)

    def _tell(self, now: bool) -> None:
        number = self._line.to_tell(now)
        if number:
            self._say([words.RECEIVED, number])
        elif not now and not self._telling:
            self._telling = True
            self.reactor.call_later(_TELL_SECONDS, self._tell_late)

    def _tell_late(self) -> None:
        self._telling = False
        self._tell(True)

    # What goes through

    def send(self, message: Message) -> None:
        """Send a numbered message: it arrives once, whatever becomes of connections."""
        if self.ended:
            return
        if message[0] == words.BYTES:
            message[2] = bytes(message[2])  # it is kept until it has arrived
        number = self._line.send(message, size_of(message))
        self._say([words.NUMBERED, number, message])

    def _on_numbered(self, message: Message) -> None:
        kind = message[0]
        if kind == words.BYTES:
            channel = self._channels.get(message[1])
            if channel is not None:
                channel.feed(message[2])
        elif kind == words.ANSWER:
            then = self._asked.pop(message[1], None)
            if then is not None:
                then(message[2], message[3])
        elif kind == words.CREDIT:
            channel = self._channels.get(message[1])
            if channel is not None:
                channel.add_credit(message[2])
        elif kind == words.SHUT:
            channel = self._channels.pop(message[1], None)
            if channel is not None:
                channel.close()
        elif kind == words.OPEN:
            number = message[1]
            caller = self.on_caller(number, message[2] == words.FAR)
            if caller is None:
                self.send([words.SHUT, number])
        else:
            raise ValueError(f"a numbered message of unknown kind {kind!r}")

    def open(
        self,
        process: bytes,
        address: str,
        handshake: Handshake,
        on_message: Callable[[Connection, Message], None],
        on_close: Callable[[Connection], None],
        on_open: Callable[[Connection], None] | None = None,
    ) -> ChannelConnection:
        """Begin to connect to a process: of the gateway's node if `address` is "", else of the node there."""
        number = next(self._channel_numbers)
        self.send([words.OPEN, number, process, address])
        channel = ChannelConnection(self, number, handshake, on_message, on_close, on_open)
        self._channels[number] = channel
        return channel

    def accept(
        self,
        number: int,
        handshake: Handshake,
        on_message: Callable[[Connection, Message], None],
        on_close: Callable[[Connection], None],
        on_open: Callable[[Connection], None] | None = None,
    ) -> ChannelConnection:
        """Return the connection of a process that has called, on the channel that the gateway has opened for it."""
        channel = ChannelConnection(self, number, handshake, on_message, on_close, on_open)
        self._channels[number] = channel
        return channel

    def shut(self, number: int) -> None:
        """A channel was closed on this side."""
        if self._channels.pop(number, None) is not None:
            self.send([words.SHUT, number])

    def tell(self, name: str, *arguments: Any) -> None:
        """Have the gateway do something whose outcome nobody waits for."""
        self.send([words.ASK, 0, name, list(arguments)])
        self.reactor.nudge()

    def ask(self, name: str, arguments: list[Any], then: Then) -> None:
        """Ask the gateway; `then` gets what was wrong ("" for nothing) and the answer."""
        if self.broken is not None:
            then("SystemFailure", str(self.broken))
            return
        number = next(self._ask_numbers)
        self._asked[number] = then
        self.send([words.ASK, number, name, arguments])

    def ask_and_wait(self, name: str, *arguments: Any) -> Any:
        """Ask the gateway and wait. Takes the lock. Raises GatewayError, SystemFailure."""
        answer: list[Any] = []
        with self.reactor.lock:
            self.ask(name, list(arguments), lambda wrong, value: answer.extend((wrong, value)))
        self.wait_for(lambda: bool(answer))
        wrong, value = answer
        if wrong:
            raise GatewayError(wrong, value)
        return value

    def wait_for(self, done: Callable[[], bool], deadline: float | None = None) -> bool:
        """Wait until `done()`. Takes the lock. Returns False at the deadline. Raises SystemFailure if the line ends."""
        last = time.monotonic() + _ANSWER_SECONDS
        until = last if deadline is None else min(deadline, last)
        if not self.reactor.run_until(lambda: done() or self.broken is not None or self.ended, until):
            if until < last:
                return False
            raise SystemFailure(f"the gateway at {self.address} did not answer within {_ANSWER_SECONDS:g} s")
        if done():
            return True
        raise self.broken or SystemFailure("the session has ended")

    # The end

    def fail(self, error: ShoalError) -> None:
        """The line is over: whatever waits for it gets this error."""
        if self.ended:
            return
        self.ended = True
        self.up = False
        self.broken = error
        self.on_lost(error)
        asked, self._asked = self._asked, {}
        for then in asked.values():
            then("SystemFailure", str(error))
        self._drop_all()
        self.reactor.wake()

    def _drop_all(self) -> None:
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.close()
        link, self._link = self._link, None
        if link is not None and not link.closed:
            link.close()

    def close(self) -> None:
        """End the line: the gateway ends at once if it can be told. Takes the lock."""
        if not self.ended:
            with self.reactor.lock:
                self.ended = True
                self._say([words.BYE, ""])
                self.reactor.flush()
            deadline = time.monotonic() + _GOODBYE_SECONDS
            # Its end of the connection closes when it has passed everything on.
            self.reactor.run_until(lambda: not self.up, deadline)
        with self.reactor.lock:
            self.ended = True
            self.up = False
            self._drop_all()


class GatewayError(Exception):
    """What the gateway could not do: `kind` is the name of its error, `text` what it said."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind = kind
        self.text = text

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"
