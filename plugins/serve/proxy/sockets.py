"""Websockets through the proxy: what either side says goes to the other until one closes."""

from __future__ import annotations

import asyncio
from typing import Any

from shoal.serve.dispatch import Call
from shoal.serve.exceptions import ServeError


async def serve_socket(request: Any) -> None:
    """Carry one websocket between its client and a replica. `request` is a `ProxiedRequest`."""
    dispatcher = request.dispatcher
    call = Call("open", request.meta, (request.packed_scope(),), {}, request.asked(b""), False)
    try:
        dispatcher.start(call)
    except ServeError as error:
        await request.send({"type": "websocket.close", "code": 1013, "reason": str(error)[:100]})
        return
    number, over = None, False
    actor: Any = None
    try:
        if call.ref is None:
            assert call.waiter is not None, "a call was sent, or waits"
            await asyncio.wrap_future(call.waiter)
        number = await call.ref
        actor = call.candidate.actor if call.candidate is not None else None
        up = asyncio.ensure_future(_up(request, actor, number))
        down = asyncio.ensure_future(_down(request, actor, number))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if up.done() and not down.done():  # the client has closed: the application may have last words
                await asyncio.wait({down}, timeout=5.0)
            over = down.done() and not down.exception()
        finally:
            for each in (up, down):
                each.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        request.status = 101
    finally:
        dispatcher.finished(call)
        if number is not None and not over:
            actor.abandon.remote(number)


async def _up(request: Any, actor: Any, number: int) -> None:
    while True:
        message = await request.receive()
        await actor.push.remote(number, [message])
        if message["type"] == "websocket.disconnect":
            return


async def _down(request: Any, actor: Any, number: int) -> None:
    over = False
    closed = False
    while not over:
        messages, over, failed = await actor.pull.remote(number)
        for each in messages:
            await request.send(each)
            closed = closed or each["type"] == "websocket.close"
        if over and not closed:
            await request.send({"type": "websocket.close", "code": 1011 if failed else 1000})
