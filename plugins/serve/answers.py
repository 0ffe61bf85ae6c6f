"""What users' code returns, as HTTP: responses, text, bytes, JSON, generators."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator
from typing import Any

from shoal.errors import describe
from shoal.serve.messages import Head
from shoal.serve.running import in_thread

_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_BYTES = (b"content-type", b"application/octet-stream")


def head_of(status: int, text: str, *more: tuple[bytes, bytes]) -> Head:
    """Return an answer of plain text.

    Example: `head_of(404, "no such page")`
    """
    body = text.encode()
    return Head(status=status, headers=[_TEXT, (b"content-length", b"%d" % len(body)), *more], body=body)


def body_of(value: Any) -> Head | None:
    """Return the whole answer that a result is, or None if it has to run: a stream, a file, a background task.

    Text becomes text/plain, bytes application/octet-stream, a Starlette response itself, all else JSON.
    Raises TypeError for what JSON cannot say.
    """
    kind = type(value)
    if kind is str:
        body, header = value.encode(), _TEXT
    elif kind in (bytes, bytearray, memoryview):
        body, header = bytes(value), _BYTES
    elif kind in (dict, list, int, float, bool, tuple) or value is None:
        body, header = to_json(value), _JSON
    elif inspect.isgenerator(value) or inspect.isasyncgen(value):
        return None
    else:
        from starlette.responses import Response

        if isinstance(value, Response):
            plain = getattr(value, "body", None)
            if type(value).__call__ is not Response.__call__ or value.background is not None:
                return None
            return Head(status=value.status_code, headers=list(value.raw_headers), body=bytes(plain or b""))
        if callable(value) and len(_parameters(value)) == 3:
            return None  # an ASGI application
        body, header = to_json(value), _JSON
    return Head(status=200, headers=[header, (b"content-length", b"%d" % len(body))], body=body)


def _parameters(value: Any) -> Any:
    try:
        return inspect.signature(value).parameters
    except (TypeError, ValueError):
        return ()


def response_of(value: Any) -> Any:
    """Return what answers as an ASGI application: the value itself, or a stream of what a generator yields."""
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        from starlette.responses import StreamingResponse

        chunks = value if inspect.isasyncgen(value) else in_thread(value)
        return StreamingResponse(_as_bytes(chunks), media_type="text/plain")
    return value


async def _as_bytes(chunks: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for each in chunks:
        yield piece(each)


def piece(value: Any) -> bytes:
    """Return a piece of a streamed body as bytes: text in UTF-8, other values as JSON."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return to_json(value)


def to_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8. NumPy's and pydantic's values, dataclasses, sets and times are understood.

    Raises TypeError for others, ValueError for numbers that are none.
    """
    return _JSON_TEXT.encode(value).encode()


def _plain(value: Any) -> Any:
    for name in ("tolist", "model_dump", "isoformat", "to_dict"):
        method = getattr(value, name, None)
        if callable(method) and not isinstance(value, type):
            return method()
    import dataclasses

    import attrs

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if attrs.has(type(value)):
        return attrs.asdict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    raise TypeError(
        f"{describe(value)} is neither text, bytes nor JSON: return a response, or what JSON can write"
    )


_JSON_TEXT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
