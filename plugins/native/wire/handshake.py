"""Mutual proof of the session's token, before any other byte is looked at.

Three fixed-size messages, HMAC-SHA256 over both sides' nonces, so that a replay proves nothing:

    server → client   magic, protocol, server nonce
    client → server   magic, protocol, client nonce, client id, proof
    server → client   server id, proof

Pure: bytes in, bytes out. A wrong byte raises AuthenticationFailed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct

from shoal.errors import AuthenticationFailed
from shoal.native.wire.kinds import PROTOCOL

MAGIC = b"SHOAL\x00"
_HELLO = struct.Struct("<6sH32s")
_ANSWER = struct.Struct("<6sH32s8s32s")
_ACCEPT = struct.Struct("<8s32s")


def _proof(token: bytes, side: bytes, server_nonce: bytes, client_nonce: bytes, identity: bytes) -> bytes:
    return hmac.new(token, side + server_nonce + client_nonce + identity, hashlib.sha256).digest()


def _check_version(magic: bytes, protocol: int) -> None:
    if magic != MAGIC:
        raise AuthenticationFailed("the other side does not speak Shoal's protocol")
    if protocol != PROTOCOL:
        raise AuthenticationFailed(
            f"the other side speaks protocol {protocol}, this one {PROTOCOL}; use one version of Shoal"
        )


class ServerHandshake:
    """The accepting side. `peer` is the client's identifier once `done`."""

    __slots__ = ("_identity", "_nonce", "_token", "done", "peer")

    def __init__(self, token: bytes, identity: bytes) -> None:
        self._token = token
        self._identity = identity
        self._nonce = os.urandom(32)
        self.peer = b""
        self.done = False

    def begin(self) -> bytes:
        """Return the first bytes to send."""
        return _HELLO.pack(MAGIC, PROTOCOL, self._nonce)

    @property
    def wants(self) -> int:
        """How many bytes `feed` takes next."""
        return _ANSWER.size

    def feed(self, data: bytes) -> bytes:
        """Take the client's answer; return what to send. Raises AuthenticationFailed."""
        magic, protocol, nonce, peer, proof = _ANSWER.unpack(data)
        _check_version(magic, protocol)
        if not hmac.compare_digest(proof, _proof(self._token, b"client", self._nonce, nonce, peer)):
            raise AuthenticationFailed("the client does not know the session's token")
        self.peer = peer
        self.done = True
        return _ACCEPT.pack(
            self._identity, _proof(self._token, b"server", self._nonce, nonce, self._identity)
        )


class ClientHandshake:
    """The connecting side. `peer` is the server's identifier once `done`."""

    __slots__ = ("_identity", "_nonce", "_server_nonce", "_token", "done", "peer")

    def __init__(self, token: bytes, identity: bytes) -> None:
        self._token = token
        self._identity = identity
        self._nonce = os.urandom(32)
        self._server_nonce = b""
        self.peer = b""
        self.done = False

    def begin(self) -> bytes:
        """Return the first bytes to send: none, the server begins."""
        return b""

    @property
    def wants(self) -> int:
        """How many bytes `feed` takes next."""
        return _ACCEPT.size if self._server_nonce else _HELLO.size

    def feed(self, data: bytes) -> bytes:
        """Take what the server sent; return what to send. Raises AuthenticationFailed."""
        if not self._server_nonce:
            magic, protocol, nonce = _HELLO.unpack(data)
            _check_version(magic, protocol)
            self._server_nonce = nonce
            proof = _proof(self._token, b"client", nonce, self._nonce, self._identity)
            return _ANSWER.pack(MAGIC, PROTOCOL, self._nonce, self._identity, proof)
        peer, proof = _ACCEPT.unpack(data)
        expected = _proof(self._token, b"server", self._server_nonce, self._nonce, peer)
        if not hmac.compare_digest(proof, expected):
            raise AuthenticationFailed("the server does not know the session's token")
        self.peer = peer
        self.done = True
        return b""
