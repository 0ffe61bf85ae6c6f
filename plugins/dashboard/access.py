"""Who may ask the server, and how: one gate in front of all routes.

In this order a request is refused for its host (a page of another site that was made to resolve to this machine),
for its size, for not proving the token, and for being sent by another site's page. Answers carry the headers that keep
a browser from letting others use them.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import secrets
import socket
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("shoal.dashboard")

COOKIE_SECONDS = 12 * 3600
BODY_BYTES = 1 << 20
HEADER_BYTES = 32 << 10
OWN_HEADER = (
    b"x-shoal"  # that a page of another site cannot send without being asked for leave, which is not given
)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = frozenset({"/healthz", "/api/login", "/api/logout"})  # what needs no token
_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
     b"connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]  # fmt: skip
# Strict-Transport-Security is not among them: it would hold for every other port of the machine as well.


class TooLarge(Exception):
    """A request's body is larger than it may be."""


class Keys:
    """What proves that somebody knows the token: the token itself, or a cookie that was given for it.

    Example: `Keys(token, 8265).check_cookie(keys.make_cookie())` is True for twelve hours.
    """

    def __init__(self, token: str, port: int) -> None:
        """Cookies do not tell ports apart, so `port` is part of this one's name."""
        self.cookie = f"shoal_{port}"
        self._token = token.encode()
        self._key = hmac.new(self._token, b"shoal dashboard cookie", hashlib.sha256).digest()

    def check_token(self, given: str) -> bool:
        """Tell whether it is the token; takes as long whatever is wrong with it."""
        return hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)

    def make_cookie(self, now: float | None = None) -> str:
        """Return the value of a cookie that is good for `COOKIE_SECONDS`."""
        until = int((time.time() if now is None else now) + COOKIE_SECONDS)
        said = f"{until}.{secrets.token_hex(8)}"
        return f"{said}.{self._sign(said)}"

    def check_cookie(self, value: str) -> bool:
        """Tell whether a cookie's value was made by `make_cookie` with this token, and is not too old."""
        said, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(said).encode()):
            return False
        until = said.partition(".")[0]
        return until.isdecimal() and int(until) > time.time()

    def _sign(self, said: str) -> str:
        return hmac.new(self._key, said.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class Gate:
    """ASGI middleware. What goes through has a good host and size, and below `/api` a token or cookie.

    Parameters: `hosts` are names under which this server may be asked beside addresses and localhost, `limits` the
    bytes that bodies may have by the beginning of their path.
    """

    def __init__(self, app: ASGIApp, keys: Keys, hosts: frozenset[str], limits: Mapping[str, int]) -> None:
        self._app = app
        self._keys = keys
        self._hosts = hosts | {"localhost", socket.gethostname().lower()}
        self._limits = dict(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            return  # nothing else is served: a websocket is closed by the server
        began = False

        async def answer(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                named = {name for name, _ in message.get("headers", ())}
                added = [header for header in _HEADERS if header[0] not in named]
                if b"cache-control" not in named:
                    # Files of the page are asked for again with their ETag, so that an upgrade is seen at once.
                    is_api = scope["path"].startswith("/api")
                    added.append((b"cache-control", b"no-store" if is_api else b"no-cache"))
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await _say(answer, *refused)
            return
        try:
            await self._app(scope, _bounded(receive, self._limit(scope["path"])), answer)
        except Exception:  # the routes' own handlers have answered, and logged it, unless nothing was said
            if not began:
                _log.exception("%s %s failed", scope["method"], scope["path"])
                await _say(answer, 500, "failed", "the server failed; its log dashboard.log says how")

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, value)
        path: str = scope["path"]
        if not self._is_ours(headers.get(b"host", b"")):
            return (
                421,
                "wrong host",
                "this server is asked by its address, by localhost or by its machine's name",
            )
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES:
            return 431, "too large", f"the headers have more than {HEADER_BYTES} bytes"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return 400, "bad request", "Content-Length must be a number"
        if int(length) > self._limit(path):
            return 413, "too large", f"a body sent to {path} may have {self._limit(path)} bytes at most"
        is_api = path == "/api" or path.startswith("/api/")
        if not is_api and scope["method"] in _SAFE:
            return None  # pages and health hold nothing of the session
        bearer = headers.get(b"authorization", b"").decode("latin-1")
        if bearer:
            word, _, token = bearer.partition(" ")
            if word.lower() == "bearer" and self._keys.check_token(token):
                return None
            return (
                401,
                "wrong token",
                "the token is not this session's: `shoal dashboard` shows the right one",
            )
        if scope["method"] not in _SAFE:
            if headers.get(OWN_HEADER) is None:
                return (
                    403,
                    "cross-site",
                    "a request that changes something needs the header X-Shoal: 1, or the token",
                )
            origin = headers.get(b"origin")
            if origin is not None and urlsplit(origin.decode("latin-1")).netloc.encode() != headers[b"host"]:
                return 403, "cross-site", "the request came from the page of another site"
        if path in _OPEN:
            return None
        given = self._cookie(headers.get(b"cookie", b""))
        if given is not None and self._keys.check_cookie(given):
            return None
        if given is not None:
            return 401, "stale", "the login is over, or of another session: log in again"
        return 401, "no token", "log in, or send Authorization: Bearer TOKEN; `shoal dashboard` shows it"

    def _is_ours(self, host: bytes) -> bool:
        try:
            name = urlsplit("//" + host.decode("ascii")).hostname
        except ValueError:  # UnicodeDecodeError is one
            return False
        if not name:
            return False
        try:
            # No name server can lead a browser here under an address.
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def _cookie(self, header: bytes) -> str | None:
        try:
            found = SimpleCookie(header.decode("latin-1")).get(self._keys.cookie)
        except CookieError:
            return None
        return None if found is None else found.value

    def _limit(self, path: str) -> int:
        fitting = [most for beginning, most in self._limits.items() if path.startswith(beginning)]
        return max(fitting, default=BODY_BYTES)


def _bounded(receive: Receive, most: int) -> Receive:
    """Count what comes: a body that is sent in chunks has no length to look at before."""
    came = 0

    async def count() -> Message:
        nonlocal came
        message = await receive()
        if message["type"] == "http.request":
            came += len(message.get("body", b""))
            if came > most:
                raise TooLarge(f"the body has more than {most} bytes")
        return message

    return count


async def _say(send: Any, status: int, error: str, text: str) -> None:
    body = json.dumps({"error": error, "message": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
