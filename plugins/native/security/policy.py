"""Whether a node speaks TLS, from its settings and where it listens. Nodes do not negotiate it: each side insists."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from shoal.config import Config
from shoal.errors import ConfigError
from shoal.native.security.certificates import Credentials


def is_loopback(host: str) -> bool:
    """Tell whether an address can only be reached from this machine. Names other than localhost count as no.

    Example: `is_loopback("127.0.0.1")`.
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def loopback() -> str:
    """Return this machine's own address of its loopback: that of IPv4, or of IPv6 where there is no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError:
            return "::1"
    return "127.0.0.1"


def given_credentials(config: Config) -> Credentials | None:
    """Return the certificate files of the settings, None if there are none. Raises ConfigError for a part of them."""
    files = {"tls_ca": config.tls_ca, "tls_cert": config.tls_cert, "tls_key": config.tls_key}
    given = {name: path for name, path in files.items() if path is not None}
    if not given:
        return None
    missing = [name for name in files if name not in given]
    if missing:
        raise ConfigError(
            f"{', '.join(given)} without {', '.join(missing)}: a certificate of your own needs all three"
        )
    return Credentials(given["tls_ca"], given["tls_cert"], given["tls_key"])


def wants_tls(config: Config, hosts: Sequence[str], has_certificates: bool) -> bool:
    """Decide whether a node that is at, or talks to, `hosts` uses TLS.

    `has_certificates`: whether some were given, or can be made of the cluster's credentials. Raises ConfigError if
    plaintext would leave the machine without `allow_plaintext`, or if certificates were given that would not be used.

    Example: `wants_tls(Config(), ["10.0.0.1"], False)` is True.
    """
    beyond = [host for host in hosts if not is_loopback(host)]
    if config.tls == "off":
        if beyond and not config.allow_plaintext:
            raise ConfigError(
                f"tls=off, but {beyond[0]} is not on loopback: everybody on the way could read and change what nodes "
                "say. Leave tls at auto, or set allow_plaintext=true as well if that network encrypts by itself"
            )
        if given_credentials(config) is not None:
            raise ConfigError("tls=off, and certificates were given: leave one of them out")
        return False
    return config.tls == "on" or bool(beyond) or has_certificates
