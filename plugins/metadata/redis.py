"""RedisMetadata: the head's records on a Redis server, so that a head can come back on another machine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, Write
from shoal.metadata.server import Server, read_server, tls_context
from shoal.metadata.values import after, as_bytes, check_seconds

T = TypeVar("T")
log = logging.getLogger("shoal.metadata")

_SCHEMES = {"redis": False, "rediss": True}
_PORT = 6379
_SOME = 1000  # values that a script asks for at once: Lua's stack holds about 8,000

# KEYS: the values of a table (a hash), its keys in order (a sorted set whose scores are all 0).
_PUT_IF_ABSENT = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return redis.call('HGET', KEYS[1], ARGV[1]) end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return false
"""
_ITEMS = f"""
local keys = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2])
local found = {{}}
for first = 1, #keys, {_SOME} do
    local last = math.min(first + {_SOME - 1}, #keys)
    local values = redis.call('HMGET', KEYS[1], unpack(keys, first, last))
    for i, value in ipairs(values) do
        found[#found + 1] = keys[first + i - 1]
        found[#found + 1] = value
    end
end
return found
"""
# KEYS: the lease. ARGV: the owner, milliseconds, and whether nobody's will do as well.
_LEND = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] or not holder and ARGV[3] == '0' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisMetadata(Metadata):
    """One Redis server (5 or later), found at `redis://HOST:6379/0`, or `rediss://` for TLS.

    Options: `prefix`, what the names of our keys there begin with ("shoal"): clusters that share a server need one
    each; `user`, `password`; `ca_file`, `cert_file`, `key_file` for TLS; `timeout`, seconds for one attempt (5). The
    URL may have `user:password@` and `?prefix=…&timeout=…` instead. A connection that breaks is made anew once.

    What Redis has promised is as durable as its own settings make it: switch its append-only file on.

    Example: `RedisMetadata("redis://127.0.0.1:6379/0", {"prefix": "mine"})`.
    """

    name: ClassVar[str] = "redis"
    durable: ClassVar[bool] = True
    __slots__ = ("_client", "_closed", "_lock", "_redis", "_scripts", "_server")

    def __init__(self, location: str, options: Mapping[str, Any] | None = None) -> None:
        self._server = read_server("redis", location, options, schemes=_SCHEMES, port=_PORT)
        database = self._server.path or "0"
        if not database.isdecimal():
            raise ConfigError(
                f"the path in the location of the metadata store 'redis' is the number of a database, got {database!r}"
            )
        try:
            import redis
        except ImportError as error:
            raise ConfigError(
                "the metadata store 'redis' needs the package redis: install it with `pip install 'shoal[redis]'`"
            ) from error
        self._redis: Any = redis
        self._closed = False
        self._lock = threading.Lock()
        self._client: Any = self._connect(self._server, int(database))
        self._scripts = {
            text: self._client.register_script(text) for text in (_PUT_IF_ABSENT, _ITEMS, _LEND, _RELEASE)
        }
        try:
            self._ask(self._look_at_server)
        except OSError as error:
            self.close()
            raise ConfigError(str(error)) from error
        except ConfigError:
            self.close()
            raise

    def get(self, table: str, key: bytes) -> bytes | None:
        value: bytes | None = self._ask(lambda: self._client.hget(self._keys(table)[0], bytes(key)))
        return value

    def apply(self, writes: Sequence[Write]) -> None:
        # Converted before anything is sent, so that a bad one undoes nothing because nothing was done.
        ready = [(w.table, as_bytes(w.key), None if w.value is None else as_bytes(w.value)) for w in writes]

        def send() -> None:
            # MULTI … EXEC; when the server refuses one command (no memory is left, say), EXEC carries out none.
            with self._client.pipeline(transaction=True) as pipe:
                for table, key, value in ready:
                    values, keys = self._keys(table)
                    if value is None:
                        pipe.hdel(values, key)
                        pipe.zrem(keys, key)
                    else:
                        pipe.hset(values, key, value)
                        pipe.zadd(keys, {key: 0})
                pipe.execute()

        # Sent twice after a broken connection it does the same as sent once.
        self._ask(send)

    def put_if_absent(self, table: str, key: bytes, value: bytes) -> bool:
        value = as_bytes(value)
        broke = False

        def send() -> Any:
            nonlocal broke
            try:
                return self._scripts[_PUT_IF_ABSENT](self._keys(table), [as_bytes(key), value])
            except self._redis.ConnectionError:
                broke = True
                raise

        found = self._ask(send)
        if broke and found == value:
            raise OSError(
                f"the connection to Redis at {self._server.address} broke while a key was set: it is there, but "
                "perhaps not by this call"
            )
        return found is None

    def items(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        end = after(prefix)
        bounds = [b"[" + bytes(prefix), b"+" if end is None else b"(" + end]
        flat = self._ask(lambda: self._scripts[_ITEMS](self._keys(table), bounds))
        return list(zip(flat[::2], flat[1::2], strict=True))

    def acquire(self, name: str, owner: bytes, seconds: float) -> bool:
        """Take a lease; see SupportsLeases."""
        return self._lend(name, owner, seconds, free_will_do=True)

    def renew(self, name: str, owner: bytes, seconds: float) -> bool:
        """Prolong a lease; see SupportsLeases."""
        return self._lend(name, owner, seconds, free_will_do=False)

    def release(self, name: str, owner: bytes) -> bool:
        """Give a lease back; see SupportsLeases."""
        return bool(self._ask(lambda: self._scripts[_RELEASE]([self._lease(name)], [as_bytes(owner)])))

    def holder(self, name: str) -> bytes | None:
        """Tell whose a lease is; see SupportsLeases."""
        owner: bytes | None = self._ask(lambda: self._client.get(self._lease(name)))
        return owner

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._client.close()
                self._client.connection_pool.disconnect()

    def _connect(self, server: Server, database: int) -> Any:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        host, port = server.endpoints[0]
        options: dict[str, Any] = {}
        if server.tls:
            tls_context(
                "redis", server
            )  # read by us first: the client reports a bad file as a broken connection
            options = {
                "ssl": True,
                "ssl_check_hostname": True,  # not the default in every version
                "ssl_ca_certs": server.ca_file,
                "ssl_certfile": server.cert_file,
                "ssl_keyfile": server.key_file,
            }
        return self._redis.Redis(
            host=host,
            port=port,
            db=database,
            username=server.user,
            password=server.password,
            socket_timeout=server.timeout,
            socket_connect_timeout=server.timeout,
            # One reconnect. A timeout is no broken connection: the server is there and too slow to be asked twice.
            retry=Retry(NoBackoff(), 1, supported_errors=(self._redis.ConnectionError,)),
            **options,
        )

    def _look_at_server(self) -> None:
        try:
            version = self._client.info("server")["redis_version"]
            persistence, memory = self._client.info("persistence"), self._client.info("memory")
        except self._redis.exceptions.NoPermissionError:
            self._client.ping()
            return
        if int(str(version).partition(".")[0]) < 5:
            raise ConfigError(f"the metadata store 'redis' needs Redis 5 or later, found {version}")
        if memory.get("maxmemory") and memory.get("maxmemory_policy") not in ("noeviction", None):
            raise ConfigError(
                f"Redis at {self._server.address} throws keys away when its memory is full "
                f"(maxmemory-policy {memory['maxmemory_policy']}), and the head's records with them: "
                "set it to noeviction"
            )
        if not persistence.get("aof_enabled"):
            log.warning(
                "Redis at %s has its append-only file switched off: the head's records may be lost when it restarts",
                self._server.address,
            )

    def _lend(self, name: str, owner: bytes, seconds: float, free_will_do: bool) -> bool:
        milliseconds = max(1, round(check_seconds(seconds) * 1000))
        values = [as_bytes(owner), milliseconds, "1" if free_will_do else "0"]
        return bool(self._ask(lambda: self._scripts[_LEND]([self._lease(name)], values)))

    def _keys(self, table: str) -> list[str]:
        # In braces, so that all keys of one prefix are in one slot wherever slots matter.
        return [f"{{{self._server.prefix}}}:{kind}:{table}" for kind in ("values", "keys")]

    def _lease(self, name: str) -> str:
        return f"{{{self._server.prefix}}}:lease:{name}"

    def _ask(self, call: Callable[[], T]) -> T:
        if self._closed:
            raise ValueError("the metadata store is closed")
        try:
            return call()
        except self._redis.exceptions.AuthenticationError as error:
            raise OSError(
                f"Redis at {self._server.address} refuses the user or the password: {error}"
            ) from error
        except self._redis.RedisError as error:
            if self._closed:
                raise ValueError("the metadata store is closed") from error
            raise OSError(f"the metadata store failed: Redis at {self._server.address}: {error}") from error
