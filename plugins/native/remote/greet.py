"""The first words between a client and a node: who it is, which versions it has, and what went wrong, if it did."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import time
from typing import Any

import msgspec

from shoal.errors import AuthenticationFailed, ConfigError, ShoalError, SystemFailure
from shoal.native.transport.links import Links
from shoal.native.wire import line as words
from shoal.native.wire import preamble
from shoal.native.wire.handshake import MAGIC, ClientHandshake

_log = logging.getLogger("shoal")

_TRY_SECONDS = 10.0  # that one try may be without an answer
# That who took the connection may say nothing, twice: then it is asked in another way.
_SILENCE_SECONDS = 3.0
_START_SECONDS = 60.0  # that the node may take to start a gateway
_PAUSE_SECONDS = 0.2
_MOST_FRAME = 16 << 20

_STRANGERS = (  # what others say first, or in answer to words that they do not know
    (b"HTTP/", "an HTTP server"),
    (b"SSH-", "an SSH server"),
    (b"\x15\x03", "a server that speaks TLS and was spoken to without it"),
    (b"<!DOCTYPE", "an HTTP server"),
    (b"220", "a mail or FTP server"),
    (b"-ERR", "a Redis server"),
    (b"\x00\x00", "an HTTP/2 or gRPC server"),
)


class _NotYet(Exception):
    """Nobody answers there so far."""


def parse_address(address: str) -> str:
    """Return the host:port of a shoal:// address. Raises ConfigError.

    Example: `parse_address("shoal://10.0.0.1:6389")` is `"10.0.0.1:6389"`.
    """
    place = address.removeprefix("shoal://").rstrip("/")
    host, colon, port = place.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(
            f'address={address!r}: write "shoal://HOST:PORT", with the port that the head listens on'
        )
    return place


def greet(place: str, token: bytes, links: Links, facts: dict[str, Any], patience: float) -> dict[str, Any]:
    """Ask the node at `place` for a gateway; return what it says of it and of the session.

    Waits up to `patience` seconds for somebody to answer. Raises AuthenticationFailed for another token or other
    certificates, ConfigError if the versions differ or something else than Shoal answers, SystemFailure if nobody does.
    """
    deadline = time.monotonic() + patience
    said = False
    while True:
        try:
            return _greet_once(place, token, links, facts)
        except _NotYet as error:
            if time.monotonic() + _PAUSE_SECONDS > deadline:
                raise SystemFailure(
                    f"nobody answers at {place}: {error}. It was tried for {patience:g} s (head_wait_seconds). Does "
                    "the head run (`shoal status` on its machine), and does this machine reach its port?"
                ) from error
            if not said:
                said = True
                _log.warning("waiting up to %g s for the cluster at %s: %s", patience, place, error)
            time.sleep(_PAUSE_SECONDS)


def _greet_once(place: str, token: bytes, links: Links, facts: dict[str, Any]) -> dict[str, Any]:
    host, _, port = place.rpartition(":")
    try:
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout=_TRY_SECONDS)
    except OSError as error:
        raise _NotYet(str(error)) from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(preamble.naming(preamble.CLIENT))
        if links.secured:
            sock = _secure(sock, place, links)
            sock.settimeout(_TRY_SECONDS)
        _shake_hands(sock, place, token, links)
        body = msgspec.msgpack.encode([words.GREET, facts])
        sock.sendall(len(body).to_bytes(4, "little") + body)
        sock.settimeout(_START_SECONDS)
        size = int.from_bytes(_exactly(sock, 4), "little")
        if size > _MOST_FRAME:
            raise ConfigError(
                f"{place} answers with a message of {size:,} bytes: is it of another version of Shoal?"
            )
        answer = msgspec.msgpack.decode(_exactly(sock, size), type=list)
    except OSError as error:
        if isinstance(error, ShoalError):
            raise
        raise _NotYet(f"the connection ended in the greeting: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            sock.close()
    if answer[0] == words.REFUSED:
        raise ConfigError(f"the cluster at {place} does not let this client in: {answer[1]}")
    if answer[0] != words.WELCOME:
        raise ConfigError(
            f"{place} answers in a way that is not known here: is it of another version of Shoal?"
        )
    welcome: dict[str, Any] = answer[1]
    return welcome


def _secure(sock: socket.socket, place: str, links: Links) -> socket.socket:
    from shoal.native.security.tls import connect_tls

    try:
        return connect_tls(sock, links.client_context(), links.host_of(place), _TRY_SECONDS)
    except AuthenticationFailed as error:
        raise AuthenticationFailed(f"no TLS connection to {place}: {error}") from error


def _shake_hands(sock: socket.socket, place: str, token: bytes, links: Links) -> None:
    handshake = ClientHandshake(token, os.urandom(8))
    try:
        first = _first_words(sock, handshake.wants)
        sock.settimeout(_TRY_SECONDS)
    except ssl.SSLError as error:
        from shoal.native.security.tls import explain

        raise AuthenticationFailed(f"no TLS connection to {place}: {explain(error)}") from error
    except TimeoutError:
        how = (
            ""
            if links.secured
            else "; if the cluster uses TLS, give its credentials by credentials_file (SHOAL_CREDENTIALS_FILE)"
        )
        raise ConfigError(
            f"{place} takes the connection and says nothing for {2 * _SILENCE_SECONDS:g} s: it is no port of a "
            f"Shoal head{how}"
        ) from None
    if not first:
        raise _NotYet(
            "it closes the connection at once, as a head that does not serve yet, or something else, does"
        )
    if not first.startswith(MAGIC[: len(first)]) or len(first) < handshake.wants:
        found = next((what for start, what in _STRANGERS if first.startswith(start)), f"{first[:16]!r}")
        raise ConfigError(f"what answers at {place} is not Shoal, but {found}: is the port right?")
    try:
        sock.sendall(handshake.feed(first))
        last = _some(sock, handshake.wants)
    except ConnectionError:
        last = b""
    if len(last) < handshake.wants:
        raise AuthenticationFailed(
            f"the cluster at {place} does not accept this client's token: give the credentials file of that cluster by "
            "credentials_file (SHOAL_CREDENTIALS_FILE)"
        )
    handshake.feed(last)


def _first_words(sock: socket.socket, count: int) -> bytes:
    """Return what the other side says first. Raises TimeoutError if that is nothing, _NotYet if it is too late."""
    sock.settimeout(_SILENCE_SECONDS)
    try:
        return _some(sock, count)
    except TimeoutError:
        sock.sendall(b"\r\n\r\n")  # a server of lines waits for their end, and tells then what it is
    first = _some(sock, count)
    if first.startswith(MAGIC):
        raise _NotYet(f"it took more than {_SILENCE_SECONDS:g} s to answer")
    return first


def _some(sock: socket.socket, count: int) -> bytes:
    """Return so many bytes, or fewer if the connection ends or they are not Shoal's."""
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            break
        data += part
        if not data.startswith(MAGIC[: len(data)]) and count == ClientHandshake(b"", b"").wants:
            break
    return data


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionResetError("the other side has closed the connection")
        data += part
    return bytes(data)
