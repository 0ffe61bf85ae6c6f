"""GETs at a steady pace, whatever the answers do, and how long each took from when it was handed out.

python -P paced_requests.py URL PER_SECOND SECONDS CONNECTIONS        writes one line of JSON: p50, p99, answered

A request whose turn has come while all connections are busy waits, and its wait counts: a client that only asks when it
has been answered would not see the queue that it makes. That a timer wakes the client late is its own affair.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit


async def main(url: str, rate: float, seconds: float, connections: int) -> None:
    """Ask, and print what it took."""
    parts = urlsplit(url)
    head = f"GET {parts.path or '/'} HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode()
    due: asyncio.Queue[float | None] = asyncio.Queue()
    taken: list[float] = []

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        while (at := await due.get()) is not None:
            writer.write(head)
            told = await reader.readuntil(b"\r\n\r\n")
            if not told.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(told.decode())
            lines = (line.lower().partition(b":") for line in told.split(b"\r\n")[1:])
            fields = {name.strip(): value.strip() for name, _, value in lines}
            if fields.get(b"transfer-encoding") == b"chunked":
                while size := int(await reader.readuntil(b"\r\n"), 16):
                    await reader.readexactly(size + 2)
                await reader.readexactly(2)
            else:
                await reader.readexactly(int(fields[b"content-length"]))
            taken.append(time.perf_counter() - at)
            if fields.get(b"connection") == b"close":
                writer.close()
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.close()

    asking = [asyncio.create_task(ask()) for _ in range(connections)]
    began = time.perf_counter()
    count = int(rate * seconds)
    for number in range(count):
        at = began + number / rate
        if (left := at - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        due.put_nowait(time.perf_counter())
    for _ in asking:
        due.put_nowait(None)
    await asyncio.wait_for(asyncio.gather(*asking), 60)
    taken.sort()
    print(
        json.dumps(
            {"p50": taken[len(taken) // 2], "p99": taken[int(len(taken) * 0.99)], "answered": len(taken)}
        )
    )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
