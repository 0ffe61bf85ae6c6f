"""What the stores that are servers take: a URL, and options that say who asks and how to reach them safely."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from shoal.errors import ConfigError, describe

_TEXTS = ("user", "password", "prefix", "ca_file", "cert_file", "key_file")
_OPTIONS = (*_TEXTS, "timeout")
_IN_URL = ("prefix", "timeout")  # harmless in a list of processes or a log


@attrs.frozen(kw_only=True)
class Server:
    """Where a metadata server is and how it is spoken to."""

    endpoints: tuple[tuple[str, int], ...]  # host and port, in the order in which they are tried
    path: str  # of the URL, without the slash
    tls: bool
    prefix: str
    timeout: float  # seconds for one attempt: to connect, and to be answered
    user: str | None
    password: str | None = attrs.field(repr=False)
    ca_file: str | None
    cert_file: str | None
    key_file: str | None

    @property
    def address(self) -> str:
        """Return the endpoints for a message: nothing secret is in it."""
        return ", ".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.endpoints
        )


def read_server(
    store: str,
    location: str,
    options: Mapping[str, Any] | None,
    *,
    schemes: Mapping[str, bool],
    port: int,
    many: bool = False,
) -> Server:
    """Read a location such as `etcd://user:password@one:2379,two/?prefix=mine` and the options beside it.

    `schemes` tells for each scheme whether it means TLS; `port` stands where the URL has none; `many` allows several
    endpoints. An option wins over what the URL says. Raises ConfigError, which never shows a password.
    """
    here = f"the metadata store {store!r}"
    form = f"{next(iter(schemes))}://HOST:{port}"
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise ConfigError(f"{here} cannot read its location as a URL ({error}); write it as {form}") from None
    if parts.scheme not in schemes:
        allowed = ", ".join(f"{scheme}://" for scheme in schemes)
        raise ConfigError(
            f"the location of {here} must begin with {allowed}, as in {form}; got {_shown(location)}"
        )
    login, _, hosts = parts.netloc.rpartition("@")
    endpoints = tuple(_endpoint(here, each, port, form) for each in hosts.split(","))
    if len(endpoints) > 1 and not many:
        raise ConfigError(f"{here} speaks to one server, got {len(endpoints)}: {', '.join(hosts.split(','))}")
    given = _from_query(here, parts.query)
    user, _, password = login.partition(":")
    given |= {name: unquote(text) for name, text in (("user", user), ("password", password)) if text}
    given |= dict(options or {})
    unknown = sorted(given.keys() - set(_OPTIONS))
    if unknown:
        raise ConfigError(f"{here} has no options {unknown}; it has {', '.join(_OPTIONS)}")
    for name in _TEXTS:
        value = given.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            shown = "something else" if name == "password" else describe(value)
            raise ConfigError(f"{name} of {here} must be text that is not empty, got {shown}")
    timeout = given.get("timeout", 5)
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= 600:
        raise ConfigError(f"timeout of {here} must be seconds above 0 and up to 600, got {describe(timeout)}")
    tls = schemes[parts.scheme]
    files = {name: given.get(name) for name in ("ca_file", "cert_file", "key_file")}
    if any(files.values()) and not tls:
        secure = ", ".join(f"{scheme}://" for scheme, is_tls in schemes.items() if is_tls)
        raise ConfigError(
            f"{here} was given certificates, but its location is without TLS; begin it with {secure}"
        )
    if bool(files["cert_file"]) != bool(files["key_file"]):
        raise ConfigError(f"{here} needs both cert_file and key_file, or neither")
    return Server(
        endpoints=endpoints,
        path=parts.path.strip("/"),
        tls=tls,
        prefix=given.get("prefix", "shoal"),
        timeout=float(timeout),
        user=given.get("user"),
        password=given.get("password"),
        **files,
    )


def tls_context(store: str, server: Server) -> ssl.SSLContext:
    """Make the TLS settings for a server: its certificate is always checked. Raises ConfigError for a bad file."""
    try:
        context = ssl.create_default_context(cafile=server.ca_file)
        if server.cert_file:
            context.load_cert_chain(server.cert_file, server.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(file for file in (server.ca_file, server.cert_file, server.key_file) if file)
        raise ConfigError(
            f"the metadata store {store!r} cannot use its certificates ({files}): {error}"
        ) from error
    return context


def _endpoint(here: str, text: str, port: int, form: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, number = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{here} cannot read the address {text!r}: {error}; write {form}") from None
    if not host or parts.path:
        raise ConfigError(f"{here} needs a host in its location; write {form}")
    return host, port if number is None else number


def _from_query(here: str, query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _IN_URL:
            raise ConfigError(
                f"the location of {here} may have {', '.join(_IN_URL)} after its '?', not {name!r}; "
                "give it as an option"
            )
        found[name] = text
    if "timeout" in found:
        try:
            found["timeout"] = float(found["timeout"])
        except ValueError:
            raise ConfigError(f"timeout of {here} must be seconds, got {found['timeout']!r}") from None
    return found


def _shown(location: str) -> str:
    # A password can stand before an "@" even where the rest is wrong.
    return describe("…@" + location.rpartition("@")[2] if "@" in location else location)
