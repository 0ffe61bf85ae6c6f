"""The reference's older ways to connect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import shoal
from shoal import SessionContext
from shoal.compat.job_config import JobConfig
from shoal.compat.session import init

__all__ = ["ClientBuilder", "SessionContext", "client", "connect", "disconnect"]


class ClientBuilder:
    """Gathers what `connect` starts or joins a session with."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self._arguments: dict[str, Any] = {}

    def env(self, env: Mapping[str, Any]) -> ClientBuilder:
        """Set the environment of the workers."""
        self._arguments["runtime_env"] = env
        return self

    def namespace(self, namespace: str) -> ClientBuilder:
        """Set where names of actors are looked up."""
        self._arguments["namespace"] = namespace
        return self

    def connect(self) -> SessionContext:
        """Start or join the session."""
        return init(self.address, **self._arguments)


def client(address: str | None = None, _deprecation_warn_enabled: bool = True) -> ClientBuilder:
    """Return a builder for the session at `address`; use `init(address)` in new programs."""
    return ClientBuilder(address)


def connect(
    conn_str: str,
    secure: bool = False,
    metadata: list[tuple[str, str]] | None = None,
    connection_retries: int = 3,
    job_config: JobConfig | None = None,
    namespace: str | None = None,
    *,
    ignore_version: bool = False,
    _credentials: Any = None,
    ray_init_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Join the session at `conn_str` and return facts about it; use `init(address)` in new programs.

    Every connection beyond this machine is encrypted and both sides speak one version, so `secure`, `metadata`,
    `connection_retries` and `ignore_version` have nothing to change.
    """
    return dict(init(conn_str, job_config=job_config, namespace=namespace, **(ray_init_kwargs or {})))


def disconnect() -> None:
    """Leave the session."""
    shoal.shutdown()
