"""Sessions whose head keeps its records on a real server, and what is said when that cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from real_servers import Etcd, Redis, free_ports

import shoal
from shoal.errors import ConfigError
from shoal.interfaces.current import current
from shoal.metadata.etcd import EtcdMetadata
from shoal.metadata.redis import RedisMetadata

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("kind", ["redis", "etcd"])
def test_a_session_keeps_its_records_on_the_server(kind: str, redis_server: Redis, etcd_server: Etcd) -> None:
    server = redis_server if kind == "redis" else etcd_server
    where: dict[str, Any] = {"metadata": kind, "metadata_location": server.url("session")}
    with shoal.init(engine="native", num_cpus=1, num_gpus=0, **where):
        engine = current.engine
        assert engine is not None
        assert engine.kv_put(b"key", b"value", True, "names")
        assert engine.kv_get(b"key", "names") == b"value"
        store = (RedisMetadata if kind == "redis" else EtcdMetadata)(server.url("session"))
        kept = store.get("kv:names", b"key")
        assert kept is not None
        assert kept.endswith(b"value")
        store.close()


def test_a_location_that_cannot_be_is_a_wrong_setting() -> None:
    [port] = free_ports(1)
    for where, words in {
        (): "must begin with redis://",
        (("metadata_location", f"redis://127.0.0.1:{port}"),): f"Redis at 127.0.0.1:{port}",
        (("metadata", "sqlite"), ("metadata_location", "/no/such/folder/head.db")): "cannot use the file",
    }.items():
        with pytest.raises(ConfigError, match=words) as raised:
            shoal.init(engine="native", num_cpus=1, num_gpus=0, **{"metadata": "redis", **dict(where)})
        assert "Traceback" not in str(raised.value)
        assert not shoal.is_initialized()
