"""A connection to the server of a cluster's head: JSON and files over HTTP, with the token."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from shoal.errors import ShoalError

_SECONDS = 60.0
_FOLLOW_SECONDS = 24 * 3600.0  # a job may print nothing for long
_PIECE = 1 << 16


class JobServerError(ShoalError, RuntimeError):
    """The server refused a request, could not be reached, or went away. `status` is HTTP's, 0 if there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """The server at `url`; `token` proves who asks, `verify` is a file of authorities or False to trust anybody."""

    def __init__(
        self, url: str, token: str, headers: Mapping[str, str], cookies: Mapping[str, str], verify: str | bool
    ) -> None:
        self.url = url.rstrip("/")
        self._headers = {"x-shoal": "1", **headers}
        if token and "authorization" not in {name.lower() for name in headers}:
            self._headers["authorization"] = f"Bearer {token}"
        if cookies:
            self._headers["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=_tls(verify)))
        self._opener = urllib.request.build_opener(*handlers)

    def json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request and return its answer. Raises JobServerError with what the server says."""
        data = None if body is None else json.dumps(body).encode()
        with self._open(method, path, data, "application/json", _SECONDS) as answer:
            try:
                return json.loads(answer.read())
            except ValueError:
                raise JobServerError(
                    f"{self.url}{path} did not answer in JSON: is it a Shoal server?"
                ) from None

    def has(self, path: str) -> bool:
        """Tell whether there is something at a path. Raises JobServerError for anything but yes or no."""
        try:
            self.json("GET", path)
        except JobServerError as error:
            if error.status == 404:
                return False
            raise
        return True

    def send_file(self, path: str, file: str) -> None:
        """Send a file, in pieces. Raises JobServerError, OSError."""
        size = os.path.getsize(file)
        with (
            open(file, "rb") as opened,
            self._open(
                "PUT", path, opened, "application/octet-stream", _SECONDS, {"content-length": str(size)}
            ),
        ):
            pass

    def lines(self, path: str) -> Iterator[str]:
        """Yield the lines of a text as they come, with their ends. Raises JobServerError if the server goes away."""
        with self._open("GET", path, None, "text/plain", _FOLLOW_SECONDS) as answer:
            try:
                for line in answer:
                    yield line.decode(errors="replace")
            except (OSError, http.client.HTTPException) as error:
                raise JobServerError(f"{self.url} went away in the middle of an answer: {error}") from error

    def _open(
        self,
        method: str,
        path: str,
        data: Any,
        kind: str,
        timeout: float,
        more: Mapping[str, str] | None = None,
    ) -> Any:
        headers = {**self._headers, **({"content-type": kind} if data is not None else {}), **(more or {})}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            return self._opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise JobServerError(_said(error), error.code) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise JobServerError(f"the server at {self.url} cannot be reached: {reason}") from error


def _tls(verify: str | bool) -> ssl.SSLContext:
    if isinstance(verify, str):
        return ssl.create_default_context(cafile=verify)
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _said(error: urllib.error.HTTPError) -> str:
    body = error.read(_PIECE).decode(errors="replace")
    try:
        found = json.loads(body)
        text = found.get("error") or found.get("message") or body
    except (ValueError, AttributeError):
        text = body or error.reason
    return f"{text} (HTTP {error.code})"
