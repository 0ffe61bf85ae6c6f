"""Addresses as people write them."""

from __future__ import annotations

from shoal.errors import ConfigError, describe

_MOST = 65_535


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of "HOST:PORT"; an IPv6 address is in brackets. Raises ConfigError.

    Example: `split_address("[::1]:6389")` is `("::1", 6389)`.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not colon or not bare or (":" in bare) != bracketed:
        raise ConfigError(
            f"an address is written HOST:PORT, with an IPv6 address in brackets, not {describe(address)}"
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _MOST):
        raise ConfigError(f"the port in the address HOST:PORT must be 1 to {_MOST}, got {describe(address)}")
    return bare, int(port)
