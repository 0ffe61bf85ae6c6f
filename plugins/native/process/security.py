"""What a new node gets to prove itself with: the token, and under TLS a certificate, given or made for it."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import attrs

from shoal.config import Config
from shoal.errors import ConfigError
from shoal.native.security.bundle import Bundle, credentials_of, make_bundle, write_bundle
from shoal.native.security.certificates import CLUSTER_HOST, Credentials, check_credentials
from shoal.native.security.policy import given_credentials, is_loopback, loopback, wants_tls

CREDENTIALS_FILE = "credentials"  # in the folder of a head: what others need in order to join
_TLS_FOLDER = "tls"


@attrs.frozen
class SecurityPlan:
    """How a node is going to be secured; nothing is written yet."""

    bundle: Bundle
    tls: bool
    given: Credentials | None
    is_head: bool
    hosts: Sequence[str]  # under which others may know this node

    def install(self, folder: str) -> tuple[Sequence[str], str]:
        """Write what the node needs into its session's folder; return the session's `tls` and `tls_host`.

        Raises ConfigError.
        """
        if self.is_head:
            write_bundle(os.path.join(folder, CREDENTIALS_FILE), self.bundle)
        if not self.tls:
            return (), ""
        if self.given is not None:
            made, host = self.given, _common_host(self.given)
        else:
            inside = os.path.join(folder, _TLS_FOLDER)
            os.mkdir(inside, 0o700)
            made, host = credentials_of(self.bundle, inside, list(self.hosts)), CLUSTER_HOST
        return tuple(os.path.abspath(path) for path in attrs.astuple(made)), host


def plan_security(config: Config, bundle: Bundle, head_address: str) -> SecurityPlan:
    """Decide about a node, the head itself if `head_address` is "", and check what was given.

    Raises ConfigError for what cannot work, or would let others listen.
    """
    listen = config.listen_host or loopback()
    head_host = head_address.rpartition(":")[0].strip("[]")
    if head_host and is_loopback(listen) and not is_loopback(head_host):
        raise ConfigError(
            f"the head is at {head_address}, but this node would listen on {listen}, where only this machine reaches "
            "it: give this machine's address by --host (listen_host), or --host 0.0.0.0"
        )
    given = given_credentials(config)
    talks_to = [host for host in (listen, head_host) if host]
    tls = wants_tls(config, talks_to, given is not None or bundle.has_authority)
    if tls and given is None and not bundle.has_authority:
        if head_address:
            raise ConfigError(
                f"the cluster at {head_address} is reached by TLS, and this node has no certificate: copy the head's "
                "credentials file here and give it by --credentials FILE, or give tls_cert, tls_key and tls_ca"
            )
        made = make_bundle(with_authority=True)
        bundle = attrs.evolve(made, token=bundle.token)
    if tls and given is not None:
        check_credentials(given)
    hosts = [host for host in (listen, socket.gethostname(), "localhost") if host not in ("0.0.0.0", "::")]
    return SecurityPlan(bundle, tls, given, not head_address, hosts)


def _common_host(given: Credentials) -> str:
    """Return the name that all nodes' certificates have: those of the user's own making may have it, too."""
    try:
        check_credentials(given, [CLUSTER_HOST])
    except ConfigError:
        return ""
    return CLUSTER_HOST
