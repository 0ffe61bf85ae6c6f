"""A client that asks as fast as it gets answers, over many connections, and counts what went wrong."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import httpx

_ANSWER_SECONDS = 60.0


@attrs.define
class Seen:
    """What came: answers by status, bodies by text, and failures by what they say."""

    statuses: Counter[int] = attrs.field(factory=Counter)
    bodies: Counter[str] = attrs.field(factory=Counter)
    failures: Counter[str] = attrs.field(factory=Counter)

    @property
    def count(self) -> int:
        """How many answers came."""
        return sum(self.statuses.values())


class Line:
    """One HTTP/1.1 connection, made again when the server has asked for that. Nothing is repeated."""

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)
        host = f"{self._url.host}:{self._url.port}"
        self._request = (
            f"POST {self._url.path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 2\r\n\r\nhi".encode()
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> tuple[int, str]:
        """Send a request and return status and body. Raises OSError and EOFError if the connection breaks."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._url.host, self._url.port)
        reader, writer = self._streams
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(fields[b"content-length"]))
        if fields.get(b"connection") == b"close":
            self.close()
        return int(head[0].split()[1]), body.decode()

    def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _hammer(url: str, connections: int, ended: threading.Event, seen: Seen) -> None:
    async def ask() -> None:
        line = Line(url)
        while not ended.is_set():
            try:
                status, body = await asyncio.wait_for(line.ask(), _ANSWER_SECONDS)
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                seen.failures[repr(error)] += 1
                line.close()
                await asyncio.sleep(0.05)
            else:
                seen.statuses[status] += 1
                seen.bodies[body] += 1
        line.close()

    await asyncio.gather(*(ask() for _ in range(connections)))


@contextmanager
def hammered(url: str, connections: int = 32) -> Iterator[Seen]:
    """Ask without a pause for as long as the block lasts."""
    seen, ended = Seen(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_hammer(url, connections, ended, seen)), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join(2 * _ANSWER_SECONDS)
    assert not thread.is_alive(), "the client did not end"
