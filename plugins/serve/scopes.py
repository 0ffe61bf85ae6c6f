"""Requests' scopes on their way from proxies to replicas: bytes, since the kernel need not look into those."""

from __future__ import annotations

from typing import Any, Optional

import msgspec

_Address = Optional[tuple[str, Optional[int]]]  # noqa: UP045  (msgspec reads it on Python 3.10)
_Fields = tuple[
    str, str, str, str, bytes, bytes, str, list[tuple[bytes, bytes]], _Address, _Address, str, list[str]
]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Fields).decode


def pack(scope: Any, root_path: str) -> bytes:
    """Return what a replica needs of an ASGI scope; `root_path` is that of the application.

    Example: `unpack(pack(scope, "/api"))["root_path"]` is "/api".
    """
    return _encode(
        (
            scope["type"],
            scope["http_version"],
            scope["scheme"],
            scope["path"],
            scope.get("raw_path") or scope["path"].encode(),
            scope["query_string"],
            root_path,
            scope["headers"],
            scope["client"],
            scope["server"],
            scope.get("method", ""),
            scope.get("subprotocols", ()),
        )
    )


def unpack(packed: bytes) -> dict[str, Any]:
    """Return the scope for an ASGI application."""
    kind, version, scheme, path, raw, query, root, headers, client, server, method, protocols = _decode(
        packed
    )
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "scheme": scheme,
        "path": path,
        "raw_path": raw,
        "query_string": query,
        "root_path": root,
        "headers": headers,
        "client": client,
        "server": server,
    }
    if kind == "http":
        scope["method"] = method
    else:
        scope["subprotocols"] = protocols
    return scope
