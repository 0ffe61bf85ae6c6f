"""Certificates of a cluster: an authority of its own, which signs one for each node; or files that were given.

The authority signs for this cluster and nothing else, so to have a certificate of its is to belong to the cluster. All
its certificates are valid for `CLUSTER_HOST` beside the node's own names: who connects to a node whose address it has
from a member asks for that name, and nobody need know beforehand which addresses nodes will have.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from shoal.errors import ConfigError
from shoal.native.security.private import read_private, write_private

CLUSTER_HOST = "node.shoal.internal"
DAYS = 365
_BEFORE = datetime.timedelta(minutes=10)  # how far a node's clock may be behind ours


@attrs.frozen
class Credentials:
    """The files of one node: who it trusts, who it is, and how it proves that.

    Example: `Credentials("ca.pem", "node.pem", "node.key")`.
    """

    ca_file: str  # PEM: the authorities whose certificates are taken
    cert_file: str  # PEM: our certificate, then those between it and the authority, if any
    key_file: str  # PEM: its key, 0600


@attrs.frozen
class Authority:
    """The files of a cluster's authority. Only who starts nodes needs the key."""

    cert_file: str
    key_file: str


def make_authority(folder: str, cluster: str, days: float = DAYS) -> Authority:
    """Make an authority for a cluster: `ca.pem` and `ca.key` (0600) in a folder that exists.

    `cluster` is a name for people, valid for `days`. Raises FileExistsError if there is one, ConfigError if the package
    cryptography is missing.

    Example: `make_authority("/var/lib/shoal", "session_2026")`.
    """
    x509, _, serialization = _cryptography()
    key = _new_key()
    subject = _name(f"Shoal authority of {cluster}")
    usage = _usage(key_cert_sign=True, crl_sign=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signed = (
        _builder(subject, subject, key.public_key(), days)
        # It signs nodes, and no further authorities.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, _sha256())
    )
    made = Authority(os.path.join(folder, "ca.pem"), os.path.join(folder, "ca.key"))
    write_private(made.key_file, _key_text(key))
    _write_public(made.cert_file, signed.public_bytes(serialization.Encoding.PEM))
    return made


def make_credentials(
    authority: Authority, folder: str, hosts: Iterable[str] = (), days: float = DAYS
) -> Credentials:
    """Make a node's certificate: `node.pem` and `node.key` (0600), and a copy of the authority's beside them.

    It is valid for `hosts` (names and IP addresses) and `CLUSTER_HOST`, as server and as client, for `days` but not
    longer than its authority. Raises ConfigError if the authority has expired or its key is open to others, and
    FileExistsError.

    Example: `make_credentials(authority, "/var/lib/shoal/one", ["one.example", "10.0.0.1"])`.
    """
    x509, oid, serialization = _cryptography()
    ca = read_certificates(authority.cert_file, "the authority's certificate")[0]
    _check_dates(ca, "the authority's certificate", authority.cert_file, _now())
    if not _is_authority(ca):
        raise ConfigError(
            f"the certificate {authority.cert_file} is not an authority's: it may not sign others"
        )
    ca_key = _read_key(authority.key_file, "the authority's key")
    key = _new_key()
    names = [_general_name(host) for host in dict.fromkeys([CLUSTER_HOST, *hosts])]
    ca_identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    signed = (
        _builder(_name("Shoal node"), ca.subject, key.public_key(), days, latest=ca.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH, oid.ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier), critical=False
        )
        .sign(ca_key, _sha256())
    )
    made = Credentials(*(os.path.join(folder, name) for name in ("ca.pem", "node.pem", "node.key")))
    write_private(made.key_file, _key_text(key))
    _write_public(made.cert_file, signed.public_bytes(serialization.Encoding.PEM))
    if os.path.abspath(made.ca_file) != os.path.abspath(authority.cert_file):
        _write_public(made.ca_file, ca.public_bytes(serialization.Encoding.PEM))
    return made


def check_credentials(
    given: Credentials, hosts: Sequence[str] = (), now: datetime.datetime | None = None
) -> datetime.datetime:
    """Return when the first of these certificates expires, having checked all that can be checked without a peer.

    Raises ConfigError, naming the file and the cure: a file that is missing or no PEM, a certificate that has expired
    or is not valid yet, one that the authority did not sign, one that is not for all of `hosts`, a key that does not
    fit, a key that others can read. `now` is the present, if not given.

    Example: `check_credentials(credentials, ["one.example"])`.
    """
    now = now or _now()
    authorities = read_certificates(given.ca_file, "the authority's certificate")
    chain = read_certificates(given.cert_file, "the certificate")
    key = _read_key(given.key_file, "the certificate's key")
    for path, what, found in (
        (given.ca_file, "the authority's certificate", authorities),
        (given.cert_file, "the certificate", chain),
    ):
        for one in found:
            _check_dates(one, what, path, now)
    if _public(key.public_key()) != _public(chain[0].public_key()):
        raise ConfigError(f"the key {given.key_file} is not that of the certificate {given.cert_file}")
    if not _leads_to(chain, authorities):
        issuer = chain[-1].issuer.rfc4514_string()
        raise ConfigError(
            f"the certificate {given.cert_file} is signed by {issuer!r}, which is not among the authorities in "
            f"{given.ca_file}: give the authority that signed it, or append those between the two to the certificate"
        )
    names = names_of(chain[0])
    for host in hosts:
        if not _matches(host, names):
            raise ConfigError(
                f"the certificate {given.cert_file} is not for {host!r}, but for "
                f"{', '.join(names) or 'no host at all'}: make one with this name among its subject alternative names"
            )
    expires: datetime.datetime = min(one.not_valid_after_utc for one in [*authorities, *chain])
    return expires


def names_of(certificate: Any) -> list[str]:
    """Return the names and addresses that a certificate is for, as text."""
    x509, _, _ = _cryptography()
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def read_certificates(path: str, what: str) -> list[Any]:
    """Return the certificates in a PEM file, at least one. Raises ConfigError; `what` is what an error calls it."""
    x509, _, _ = _cryptography()
    try:
        with open(path, "rb") as file:
            found: list[Any] = x509.load_pem_x509_certificates(file.read())
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{what} {path} is no certificate in PEM form: {error}") from error
    return found


def _check_dates(certificate: Any, what: str, path: str, now: datetime.datetime) -> None:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > last:
        raise ConfigError(
            f"{what} {path} expired on {last:%Y-%m-%d %H:%M} UTC: give a new one, or let the cluster make its own"
        )
    if now < first:
        raise ConfigError(
            f"{what} {path} is not valid before {first:%Y-%m-%d %H:%M} UTC, and this machine's clock says "
            f"{now:%Y-%m-%d %H:%M}: set the clock right, or wait"
        )


def _leads_to(chain: Sequence[Any], authorities: Sequence[Any]) -> bool:
    current = chain[0]
    for issuer in chain[1:]:
        if not (_is_authority(issuer) and _issued(issuer, current)):
            return False
        current = issuer
    return any(current == one or _issued(one, current) for one in authorities)


def _is_authority(certificate: Any) -> bool:
    x509, _, _ = _cryptography()
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except x509.ExtensionNotFound:
        return False


def _issued(issuer: Any, certificate: Any) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _matches(host: str, names: Sequence[str]) -> bool:
    try:
        return str(ipaddress.ip_address(host)) in names
    except ValueError:
        lower = host.lower().rstrip(".")
        wildcard = "*." + lower.partition(".")[2]
        return any(name.lower() in (lower, wildcard) for name in names)


def _read_key(path: str, what: str) -> Any:
    _, _, serialization = _cryptography()
    try:
        return serialization.load_pem_private_key(read_private(path, what), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{what} {path} is no private key in PEM form without a password: {error}"
        ) from error


def _write_public(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)


def _builder(
    subject: Any, issuer: Any, public_key: Any, days: float, latest: datetime.datetime | None = None
) -> Any:
    x509, _, _ = _cryptography()
    now = _now()
    end = now + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _BEFORE)
        .not_valid_after(end if latest is None else min(end, latest))
    )


def _usage(**allowed: bool) -> Any:
    x509, _, _ = _cryptography()
    all_uses = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
        "crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in all_uses.split()})


def _name(text: str) -> Any:
    x509, oid, _ = _cryptography()
    return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text[:64])])  # X.509 allows no more


def _general_name(host: str) -> Any:
    x509, _, _ = _cryptography()
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode())
    except UnicodeError:
        raise ConfigError(f"{host!r} is neither a host name nor an IP address") from None


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _sha256() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _key_text(key: Any) -> bytes:
    _, _, serialization = _cryptography()
    text: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return text


def _public(key: Any) -> bytes:
    _, _, serialization = _cryptography()
    found: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _cryptography() -> tuple[Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.x509 import oid
    except ImportError as error:
        raise ConfigError(
            "certificates need the package cryptography: install it with `pip install 'shoal[cluster]'`"
        ) from error
    return x509, oid, serialization
