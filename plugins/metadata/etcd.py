"""EtcdMetadata: the head's records in etcd, which keeps them while a minority of its members is down.

It speaks etcd's JSON gateway, which each member serves beside gRPC; docs/decisions/0004-etcd-gateway.md says why.
"""

from __future__ import annotations

import errno
import json
import math
import threading
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, Write
from shoal.metadata.server import read_server, tls_context
from shoal.metadata.values import after, as_bytes, check_seconds

_SCHEMES = {"etcd": False, "etcds": True, "http": False, "https": True}
_PORT = 2379
_CONNECTIONS = 8  # kept open to each member
# etcd refuses a transaction of more than 128 steps (--max-txn-ops), but a step may itself be a transaction, which then
# may have as many as the outer one left over: 64 times 64.
_STEPS = 64
_UNAUTHENTICATED = 16  # of gRPC's status codes
_NO_MORE_AT_ONCE = _STEPS * _STEPS
Json = dict[str, Any]


class _Broken(OSError):
    """No answer came: the request may have been carried out, or not."""


class EtcdMetadata(Metadata):
    """An etcd cluster (3.4 or later), found at `etcd://ONE:2379,TWO:2379`, or `etcds://` for TLS.

    Options: `prefix`, the folder of our keys there ("shoal"): clusters that share an etcd need one each; `user`,
    `password`; `ca_file`, `cert_file`, `key_file` for TLS; `timeout`, seconds for one attempt (5). The URL may have
    `user:password@` and `?prefix=…&timeout=…` instead. What one member does not answer is asked of the next, and of a
    single one once more.

    `apply` takes up to 4,096 keys at once, and as many bytes as etcd does in one request (1.5 MiB by default).

    Example: `EtcdMetadata("etcd://127.0.0.1:2379", {"prefix": "mine"})`.
    """

    name: ClassVar[str] = "etcd"
    durable: ClassVar[bool] = True
    __slots__ = ("_bases", "_closed", "_lock", "_pool", "_server", "_token", "_urllib3")

    def __init__(self, location: str, options: Mapping[str, Any] | None = None) -> None:
        self._server = read_server("etcd", location, options, schemes=_SCHEMES, port=_PORT, many=True)
        if self._server.path:
            raise ConfigError(
                f"the location of the metadata store 'etcd' has no path, got {self._server.path!r}; set prefix instead"
            )
        if (self._server.user is None) != (self._server.password is None):
            raise ConfigError("the metadata store 'etcd' needs both user and password, or neither")
        try:
            import urllib3
        except ImportError as error:
            raise ConfigError(
                "the metadata store 'etcd' needs the package urllib3: install it with `pip install 'shoal[etcd]'`"
            ) from error
        self._urllib3 = urllib3
        context = tls_context("etcd", self._server) if self._server.tls else None
        self._pool: Any = urllib3.PoolManager(
            num_pools=len(self._server.endpoints), maxsize=_CONNECTIONS, retries=False, ssl_context=context
        )
        scheme = "https" if self._server.tls else "http"
        self._bases = [
            f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
            for host, port in self._server.endpoints
        ]
        self._lock = threading.Lock()
        self._token: str | None = None
        self._closed = False
        try:
            self.get("", b"")
        except OSError as error:
            self.close()
            raise ConfigError(str(error)) from error

    def get(self, table: str, key: bytes) -> bytes | None:
        found = self._ask("kv/range", {"key": self._key(table, key)}).get("kvs", [])
        return _value(found[0]) if found else None

    def apply(self, writes: Sequence[Write]) -> None:
        # etcd refuses a transaction that writes a key twice; the last write is the one that would stay.
        last: dict[str, Json] = {}
        for write in writes:
            key = self._key(write.table, as_bytes(write.key))
            if write.value is None:
                last[key] = {"requestDeleteRange": {"key": key}}
            else:
                last[key] = {"requestPut": {"key": key, "value": _text(as_bytes(write.value))}}
        steps = list(last.values())
        if len(steps) > _NO_MORE_AT_ONCE:
            raise OSError(
                errno.EMSGSIZE,
                f"etcd carries out {_NO_MORE_AT_ONCE} writes together at most, got {len(steps)}; apply fewer at a time",
            )
        if len(steps) > _STEPS:
            steps = [
                {"requestTxn": {"success": steps[first : first + _STEPS]}}
                for first in range(0, len(steps), _STEPS)
            ]
        if steps:
            # Sent twice after a broken connection it does the same as sent once.
            self._ask("kv/txn", {"success": steps})
        else:
            self._check_open()

    def put_if_absent(self, table: str, key: bytes, value: bytes) -> bool:
        where, value = self._key(table, as_bytes(key)), as_bytes(value)
        broken: list[_Broken] = []
        answer = self._ask(
            "kv/txn",
            {
                "compare": [_is_absent(where)],
                "success": [{"requestPut": {"key": where, "value": _text(value)}}],
                "failure": [{"requestRange": {"key": where}}],
            },
            broken,
        )
        if answer.get("succeeded"):
            return True
        if broken and value in [_value(found) for found in _ranges(answer)]:
            raise OSError(
                f"the connection to etcd at {self._server.address} broke while a key was set: it is there, but perhaps "
                "not by this call"
            ) from broken[0]
        return False

    def items(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        start = self._folder("t", table)
        first, end = start + bytes(prefix), after(start + bytes(prefix))
        assert end is not None  # a folder's name ends with a slash
        answer = self._ask(
            "kv/range",
            {"key": _text(first), "range_end": _text(end), "sort_target": "KEY", "sort_order": "ASCEND"},
        )
        return [(b64decode(found["key"])[len(start) :], _value(found)) for found in answer.get("kvs", [])]

    def acquire(self, name: str, owner: bytes, seconds: float) -> bool:
        """Take a lease; see SupportsLeases. etcd's leases last whole seconds, and two at least."""
        return self._lend(name, as_bytes(owner), seconds, free_will_do=True)

    def renew(self, name: str, owner: bytes, seconds: float) -> bool:
        """Prolong a lease; see SupportsLeases."""
        return self._lend(name, as_bytes(owner), seconds, free_will_do=False)

    def release(self, name: str, owner: bytes) -> bool:
        """Give a lease back; see SupportsLeases."""
        key = _text(self._folder("l", name))
        answer = self._ask(
            "kv/txn",
            {"compare": [_is_value(key, as_bytes(owner))], "success": [{"requestDeleteRange": {"key": key}}]},
        )
        return bool(answer.get("succeeded"))

    def holder(self, name: str) -> bytes | None:
        """Tell whose a lease is; see SupportsLeases."""
        found = self._ask("kv/range", {"key": _text(self._folder("l", name))}).get("kvs", [])
        return _value(found[0]) if found else None

    def close(self) -> None:
        self._closed = True
        self._pool.clear()

    def _lend(self, name: str, owner: bytes, seconds: float, free_will_do: bool) -> bool:
        """Hang the name on a new lease of etcd's, if it is free or the owner's.

        The lease that it hung on before runs out by itself with nothing on it: so a renewal needs to remember nothing,
        and an owner's second connection can renew what the first acquired.
        """
        key = _text(self._folder("l", name))
        granted = self._ask("lease/grant", {"TTL": math.ceil(check_seconds(seconds))})["ID"]
        put = {"requestPut": {"key": key, "value": _text(owner), "lease": granted}}
        compare = [_is_value(key, owner)]
        # One transaction: the owner's already, or else nobody's.
        if_absent: Json = {"requestTxn": {"compare": [_is_absent(key)], "success": [put]}}
        answer = self._ask(
            "kv/txn", {"compare": compare, "success": [put], "failure": [if_absent] if free_will_do else []}
        )
        inner = [one["response_txn"] for one in answer.get("responses", []) if "response_txn" in one]
        if answer.get("succeeded") or any(one.get("succeeded") for one in inner):
            return True
        self._ask("lease/revoke", {"ID": granted})
        return False

    def _folder(self, kind: str, name: str) -> bytes:
        # The length keeps tables apart whose names have a slash in them.
        text = name.encode()
        return b"%s/%s/%d/%s/" % (self._server.prefix.encode(), kind.encode(), len(text), text)

    def _key(self, table: str, key: bytes) -> str:
        return _text(self._folder("t", table) + bytes(key))

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the metadata store is closed")

    def _ask(self, what: str, body: Json, broken: list[_Broken] | None = None) -> Json:
        """Ask the members in turn until one answers; a lone one twice. `broken` gets the attempts without answer."""
        self._check_open()
        failures: list[_Broken] = []
        attempts = self._bases if len(self._bases) > 1 else self._bases * 2
        for base in attempts:
            try:
                return self._ask_with_token(base, what, body)
            except _Broken as error:
                failures.append(error)
            if broken is not None:
                broken.append(failures[-1])
        self._check_open()  # another thread may have closed it meanwhile
        raise OSError(
            f"the metadata store failed: no answer from etcd at {self._server.address}: {failures[-1]}"
        ) from failures[-1]

    def _ask_with_token(self, base: str, what: str, body: Json) -> Json:
        if self._server.user is None:
            return self._post(base, what, body, None)[1]
        with self._lock:
            token = self._token
        if token is not None:
            code, answer = self._post(base, what, body, token, may_be_denied=True)
            if code != _UNAUTHENTICATED:
                return answer
        # There is none yet, or it has run out: a simple token of etcd's lasts five minutes after its last use.
        login = {"name": self._server.user, "password": self._server.password}
        token = self._post(base, "auth/authenticate", login, None)[1].get("token")
        with self._lock:
            self._token = token
        return self._post(base, what, body, token)[1]

    def _post(
        self, base: str, what: str, body: Json, token: str | None, may_be_denied: bool = False
    ) -> tuple[int, Json]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
        try:
            response = self._pool.request(
                "POST",
                f"{base}/v3/{what}",
                body=json.dumps(body).encode(),
                headers=headers,
                timeout=self._urllib3.Timeout(connect=self._server.timeout, read=self._server.timeout),
                redirect=False,
            )
            answer = json.loads(response.data)
        except (self._urllib3.exceptions.HTTPError, OSError) as error:
            raise _Broken(str(error)) from error
        except ValueError:
            answer = {"error": f"this is no answer of etcd's: {response.data[:80]!r}"}
        if response.status == 200 and isinstance(answer, dict) and "error" not in answer:
            return 0, answer
        code, why = _complaint(answer)
        if may_be_denied and code == _UNAUTHENTICATED:
            return code, {}
        if response.status == 503 or code == 14:  # a member without a leader: another may have one
            raise _Broken(why)
        raise OSError(f"the metadata store failed: etcd at {self._server.address} refused {what}: {why}")


def _complaint(answer: Any) -> tuple[int, str]:
    if not isinstance(answer, dict):
        return -1, repr(answer)[:200]
    return int(answer.get("code", -1)), str(answer.get("message") or answer.get("error"))


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _value(found: Json) -> bytes:
    return b64decode(found.get("value", ""))  # the gateway leaves out what is empty


def _ranges(answer: Json) -> list[Json]:
    return [
        found for one in answer.get("responses", []) for found in one.get("response_range", {}).get("kvs", [])
    ]


def _is_absent(key: str) -> Json:
    return {"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}


def _is_value(key: str, value: bytes) -> Json:
    return {"key": key, "target": "VALUE", "result": "EQUAL", "value": _text(value)}
