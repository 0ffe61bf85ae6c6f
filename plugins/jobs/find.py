"""Where the server of a cluster is, and what proves that somebody may use it."""

from __future__ import annotations

import contextlib
import os
from urllib.parse import urlsplit

import attrs

from shoal.errors import ConfigError, ShoalError
from shoal.interfaces.services import service_token
from shoal.looking import watch

TOKEN_VARIABLE = "SHOAL_DASHBOARD_TOKEN"
_ADDRESS_VARIABLES = ("SHOAL_API_SERVER_ADDRESS", "SHOAL_ADDRESS")


@attrs.frozen
class Found:
    """A server's address, the token ("": none is known), and the file of authorities that vouch for it ("": usual)."""

    url: str
    token: str = attrs.field(repr=False)
    authority: str = ""


def find_server(address: str | None) -> Found:
    """Return the server that an address means; see `JobSubmissionClient`. Raises ConfigError."""
    if address is None:
        address = next((os.environ[name] for name in _ADDRESS_VARIABLES if os.environ.get(name)), "auto")
    parts = urlsplit(address)
    if parts.scheme in ("http", "https") and parts.netloc:
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ConfigError(f"address {address!r} must end with the port: {parts.scheme}://{parts.netloc}")
        return _at(address.rstrip("/"))
    if parts.scheme == "shoal" or "://" in address:
        raise ConfigError(
            f"address {address!r}: jobs are submitted to the dashboard's address, such as http://HOST:8265; `shoal "
            "dashboard` prints it on the head's machine"
        )
    return _local(None if address == "auto" else address)


def _at(url: str) -> Found:
    given = os.environ.get(TOKEN_VARIABLE, "")
    if given:
        return Found(url, given)
    with contextlib.suppress(ConfigError, ShoalError, OSError):  # no cluster here, or several
        here = _local(None)
        if here.url == url:
            return here
    return Found(url, "")


def _local(where: str | None) -> Found:
    watching = watch(where)
    try:
        if not watching.is_live:
            raise ConfigError(f"session {watching.session} has ended: there is nothing to submit jobs to")
        url = watching.dashboard()
        with open(os.path.join(watching.folder, "token"), "rb") as file:
            token = service_token(file.read())
        authority = os.path.join(watching.folder, "web_tls", "authority.pem")
        return Found(url, token, authority if os.path.exists(authority) else "")
    finally:
        watching.close()
