"""A cluster's credentials in one file (0600): its token, and the authority that makes certificates for its nodes.

It is a sequence of PEM blocks, so that it may be copied as text: `SHOAL TOKEN`, and, for a cluster with TLS,
`CERTIFICATE` and `PRIVATE KEY` of the authority. Who has the file can join the cluster and let others join.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import tempfile

import attrs

from shoal.errors import ConfigError
from shoal.native.security.certificates import Authority, Credentials, make_authority, make_credentials
from shoal.native.security.private import TOKEN_BYTES, read_private, write_private

AUTHORITY_DAYS = 3650  # nodes' certificates are valid for a year; the authority must outlive many nodes
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----\s*(.*?)-----END \1-----", re.S)


@attrs.frozen
class Bundle:
    """What a machine must have to become a node.

    Example: `Bundle(token).has_authority` is False.
    """

    token: bytes = attrs.field(repr=False)
    authority_certificate: bytes = (
        b""  # PEM; empty for a cluster without TLS, or with certificates of its own
    )
    authority_key: bytes = attrs.field(default=b"", repr=False)  # PEM

    @property
    def has_authority(self) -> bool:
        """Whether certificates can be made of it."""
        return bool(self.authority_key)


def make_bundle(with_authority: bool, cluster: str = "cluster", days: float = AUTHORITY_DAYS) -> Bundle:
    """Make a new token and, if asked, a new authority, valid for `days`. Raises ConfigError without cryptography.

    Example: `write_bundle("credentials", make_bundle(with_authority=True))`.
    """
    token = os.urandom(TOKEN_BYTES)
    if not with_authority:
        return Bundle(token)
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        made = make_authority(folder, cluster, days)
        with open(made.cert_file, "rb") as file:
            certificate = file.read()
        return Bundle(token, certificate, read_private(made.key_file, "the authority's key"))


def write_bundle(path: str, bundle: Bundle) -> None:
    """Write credentials to a new file that only this user can read. Raises FileExistsError."""
    token = base64.encodebytes(bundle.token)
    text = b"-----BEGIN SHOAL TOKEN-----\n" + token + b"-----END SHOAL TOKEN-----\n"
    write_private(path, text + bundle.authority_certificate + bundle.authority_key)


def read_bundle(path: str) -> Bundle:
    """Return the credentials in a file. Raises ConfigError if others can read it, or if it is something else."""
    text = read_private(path, "the credentials file")
    found: dict[bytes, bytes] = {}
    for match in _BLOCK.finditer(text):
        found[match[1]] = match[0] + b"\n" if match[1] != b"SHOAL TOKEN" else match[2]
    try:
        token = base64.b64decode(found.get(b"SHOAL TOKEN", b""))
    except binascii.Error:
        token = b""
    if len(token) != TOKEN_BYTES:
        raise ConfigError(
            f"the file {path} holds no credentials of a cluster: it must be a whole copy of the one that `shoal start "
            "--head --credentials FILE` has made"
        )
    certificate, key = found.get(b"CERTIFICATE", b""), found.get(b"PRIVATE KEY", b"")
    if bool(certificate) != bool(key):
        raise ConfigError(f"the credentials file {path} has half of an authority: copy the head's file whole")
    return Bundle(token, certificate, key)


def credentials_of(bundle: Bundle, folder: str, hosts: list[str]) -> Credentials:
    """Make a node's certificate for `hosts` in a folder that exists, signed by the bundle's authority.

    Raises ConfigError if the authority has expired, ValueError if there is none.
    """
    if not bundle.has_authority:
        raise ValueError("these credentials have no authority")
    # The authority's key is needed for a moment only: a node that was broken into must not be able to let others in.
    with tempfile.TemporaryDirectory(prefix="shoal-") as kept:
        authority = Authority(os.path.join(kept, "ca.pem"), os.path.join(kept, "ca.key"))
        write_private(authority.cert_file, bundle.authority_certificate)
        write_private(authority.key_file, bundle.authority_key)
        return make_credentials(authority, folder, hosts)
