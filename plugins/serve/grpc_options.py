"""How proxies serve gRPC: plain values, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks
from shoal.serve.policies import imported

DEFAULT_GRPC_PORT = 9000


def _paths(value: Any) -> tuple[str, ...]:
    given = value if isinstance(value, (list, tuple)) else None
    if given is None or not all(isinstance(each, str) and each for each in given):
        raise ConfigError(
            "grpc_servicer_functions must be a list of MODULE:NAME (or MODULE.NAME) of functions "
            f"add_…Servicer_to_server, not {describe(value)}"
        )
    return tuple(given)


@attrs.frozen(kw_only=True)
class gRPCOptions:  # noqa: N801  (the reference's name)
    """How proxies serve gRPC; they do where `grpc_servicer_functions` names any.

    `port`: where to listen, 0 any free one (see `serve.proxies`). `grpc_servicer_functions`: import paths of the
    functions `add_…Servicer_to_server` that grpcio-tools made of your protos; the proxies import them.
    `request_timeout_s`: after that long a call ends with DEADLINE_EXCEEDED (None: the client's deadline only).
    `enable_reflection`: answer clients that ask which services there are. `host`: where to listen, loopback unless
    given. `ssl_keyfile`, `ssl_certfile`: PEM files for TLS; with `ssl_ca_certs` clients must show a certificate of
    that authority. `max_message_bytes`: larger messages end with RESOURCE_EXHAUSTED, as do calls beyond
    `max_concurrent_rpcs` at one proxy.

    Raises ConfigError.

    Example: `serve.start(grpc_options={"grpc_servicer_functions": ["site.api_pb2_grpc:add_ApiServicer_to_server"]})`
    """

    port: int = attrs.field(default=DEFAULT_GRPC_PORT, validator=checks.whole(0))
    grpc_servicer_functions: tuple[str, ...] = attrs.field(default=(), converter=_paths)
    request_timeout_s: float | None = attrs.field(
        default=None, validator=checks.number(above=True, optional=True)
    )
    enable_reflection: bool = attrs.field(default=False, validator=checks.flag)
    host: str = attrs.field(default="127.0.0.1", validator=checks.text())
    ssl_keyfile: str | None = attrs.field(default=None, validator=checks.text(optional=True))
    ssl_certfile: str | None = attrs.field(default=None, validator=checks.text(optional=True))
    ssl_ca_certs: str | None = attrs.field(default=None, validator=checks.text(optional=True))
    max_message_bytes: int = attrs.field(default=64 << 20, validator=checks.whole(1))
    max_concurrent_rpcs: int = attrs.field(default=10_000, validator=checks.whole(1))

    def __attrs_post_init__(self) -> None:
        if self.port > 65535:
            raise ConfigError(f"port must be at most 65535, not {self.port}")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ConfigError("ssl_certfile and ssl_keyfile go together: give both or neither")
        if self.ssl_ca_certs is not None and self.ssl_certfile is None:
            raise ConfigError(
                "ssl_ca_certs asks clients for certificates, which needs ssl_certfile and ssl_keyfile"
            )

    @property
    def grpc_servicer_func_callable(self) -> list[Callable[..., Any]]:
        """The functions that the paths name. Raises ConfigError for one that cannot be imported or called."""
        found = [imported(each, "grpc_servicer_functions") for each in self.grpc_servicer_functions]
        for path, each in zip(self.grpc_servicer_functions, found, strict=True):
            if not callable(each):
                raise ConfigError(f"grpc_servicer_functions: {path} is no function, but {describe(each)}")
        return found


def grpc_options(value: Any) -> gRPCOptions:
    """Return options of what was given, None for none. Raises ConfigError for what is unknown or wrong.

    Example: `grpc_options({"port": 0}).host` is "127.0.0.1".
    """
    if isinstance(value, gRPCOptions):
        return value
    if isinstance(value, Mapping) or value is None:
        given = checks.mapping(value or {}, "grpc_options")
        known = {field.name for field in attrs.fields(gRPCOptions)}
        if unknown := sorted(given.keys() - known):
            raise ConfigError(f"grpc_options has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        return gRPCOptions(**given)
    raise ConfigError(f"grpc_options must be gRPCOptions or a mapping of its fields, not {describe(value)}")
