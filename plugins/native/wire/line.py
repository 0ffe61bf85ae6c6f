"""The words on the line between a client outside the cluster and its gateway, and what keeps them in order.

The line outlives its connections. What matters is numbered and kept until the other side has said that it has it; after
a broken connection each side says what it has received, and the rest is sent again: every message takes effect once, in
order. `Line` is that bookkeeping, without sockets or clocks.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

# Client → daemon, and back, on the first connection
GREET: Final = 1  # {protocol, shoal, python, grace}: a client wants a gateway
WELCOME: Final = 2  # {gateway, driver, settings of the session, ...}
REFUSED: Final = 3  # text
LOOK: Final = 4  # gateway: does it still live?
LIVES: Final = 5  # bool

# On the line itself, both ways
NUMBERED: Final = 10  # number, message: one of the numbered below
RECEIVED: Final = 11  # number: everything up to it has arrived
RESUME: Final = 12  # number: the same, first on every connection; after it comes the rest
PING: Final = 13  # nothing
PONG: Final = 14  # nothing
BYE: Final = 15  # text: the line ends for good

# Numbered
OPEN: Final = (
    20  # channel, process, address or "": connect. From the gateway: channel, FAR or NEAR, "": a caller
)
BYTES: Final = 21  # channel, bytes
CREDIT: Final = 22  # channel, how many bytes more may be sent on it
SHUT: Final = 23  # channel: it is closed
ASK: Final = 24  # request or 0, name, arguments
ANSWER: Final = 25  # request, error text or "", value

NEAR: Final = b"near"  # a process of the gateway's node
FAR: Final = b"far"  # somebody who came through the node's door

CHANNEL_WINDOW: Final = 4 << 20  # bytes that may be on their way on one channel
CREDIT_STEP: Final = 1 << 20  # bytes after which credit is given back
PIECE: Final = 1 << 18  # bytes in one message of a channel, so that others come in between
CHUNK: Final = 1 << 18  # bytes of an object in one message
WRITE_AHEAD: Final = 16  # chunks that may be on their way to the node's store
READ_AHEAD: Final = 32  # and from there

_ACKNOWLEDGE_COUNT = 64
_ACKNOWLEDGE_BYTES = 1 << 18

Message = list[Any]


class BrokenLine(ValueError):
    """The other side's numbers do not fit ours: it is not the one that this line was begun with."""


class Line:
    """What one side has sent and not heard of, and what it has received.

    Example: `a, b = Line(), Line(); number = a.send(["hello"], 5); b.receive(number)` is True, and False if repeated.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Message, int]] = deque()
        self._next = 1
        self.received = 0  # the number of the last message that has arrived
        self.kept_bytes = 0
        self._told = 0
        self._untold_bytes = 0

    def send(self, message: Message, size: int) -> int:
        """Keep a message of about `size` bytes until it has arrived; return its number."""
        number = self._next
        self._next = number + 1
        self._kept.append((number, message, size))
        self.kept_bytes += size
        return number

    def arrived(self, number: int) -> None:
        """The other side has everything up to `number`. Raises BrokenLine for what was never sent."""
        if not 0 <= number < self._next:
            raise BrokenLine(f"{number} messages were received, and {self._next - 1} sent")
        kept = self._kept
        while kept and kept[0][0] <= number:
            self.kept_bytes -= kept.popleft()[2]

    def resume(self, number: int) -> list[Message]:
        """Return what the other side, which has everything up to `number`, is to be sent again. Raises BrokenLine."""
        self.arrived(number)
        if self._kept and self._kept[0][0] != number + 1:
            raise BrokenLine(f"message {number + 1} is to be sent again, and kept is {self._kept[0][0]}")
        if not self._kept and number != self._next - 1:
            raise BrokenLine(f"message {number + 1} is to be sent again, and is not kept")
        return [[NUMBERED, kept, message] for kept, message, _ in self._kept]

    def receive(self, number: int, size: int = 0) -> bool:
        """Note that a message came. Returns False for one that was here before. Raises BrokenLine for a gap."""
        if number <= self.received:
            return False
        if number != self.received + 1:
            raise BrokenLine(f"message {number} came after {self.received}")
        self.received = number
        self._untold_bytes += size
        return True

    def to_tell(self, now: bool = False) -> int:
        """Return up to which message the other side should hear that it has arrived, 0 for nothing yet.

        `now`: tell whatever is new, instead of waiting for more.
        """
        new = self.received - self._told
        if not new or not (now or new >= _ACKNOWLEDGE_COUNT or self._untold_bytes >= _ACKNOWLEDGE_BYTES):
            return 0
        self._told = self.received
        self._untold_bytes = 0
        return self.received

    @property
    def waits(self) -> bool:
        """Whether something was sent that the other side has not confirmed."""
        return bool(self._kept)


def size_of(message: Message) -> int:
    """Return about how many bytes a numbered message takes."""
    kind = message[0]
    if kind == BYTES:
        return 16 + len(message[2])
    if kind == ANSWER:
        return 64 + (len(message[3]) if isinstance(message[3], (bytes, bytearray, memoryview)) else 0)
    if kind == ASK:
        return 64 + sum(len(each) for each in message[3] if isinstance(each, (bytes, bytearray, memoryview)))
    return 64
