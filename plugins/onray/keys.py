"""Ray's own key-value store, with one of its namespaces for each of ours."""

from __future__ import annotations

from typing import Any

from shoal.onray.real import part


class Keys:
    """Bytes by key, in the cluster's head."""

    def __init__(self) -> None:
        self._store: Any = part("experimental.internal_kv")

    def put(self, key: bytes, value: bytes, overwrite: bool, namespace: str) -> bool:
        """Store bytes; return whether the key was new."""
        there: bool = self._store._internal_kv_put(key, value, overwrite, namespace=_space(namespace))
        return not there

    def get(self, key: bytes, namespace: str) -> bytes | None:
        """Return the bytes, or None."""
        value: bytes | None = self._store._internal_kv_get(key, namespace=_space(namespace))
        return value

    def delete(self, key: bytes, namespace: str) -> bool:
        """Delete a key; return whether it was there."""
        return bool(self._store._internal_kv_del(key, namespace=_space(namespace)))

    def all(self, prefix: bytes, namespace: str) -> list[bytes]:
        """Return the keys with a prefix, sorted."""
        return sorted(self._store._internal_kv_list(prefix, namespace=_space(namespace)))


def _space(namespace: str) -> bytes:
    return b"shoal/" + namespace.encode()  # never a namespace of Ray's own
