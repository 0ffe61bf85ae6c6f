"""Connections under TLS in which each side has to show a certificate of the cluster's authority."""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from typing import TYPE_CHECKING

from shoal.errors import AuthenticationFailed, ConfigError
from shoal.native.security.certificates import CLUSTER_HOST, Credentials
from shoal.native.security.private import read_private

if TYPE_CHECKING:
    import grpc

HANDSHAKE_SECONDS = 10.0

# OpenSSL's numbers of what can be wrong with the other side's certificate.
_CURES = {
    9: "its certificate is not valid yet: are the clocks of both machines right?",
    10: "its certificate has expired: restart that node with a new one",
    18: "its certificate is signed by itself, not by the cluster's authority",
    19: "its certificate is of another authority than this cluster's",
    20: "its certificate is of another authority than this cluster's",
    62: "its certificate is for another host",
    64: "its certificate is for another address",
}


def server_context(credentials: Credentials) -> ssl.SSLContext:
    """Make the settings of who accepts connections: TLS 1.3, and a client without our authority's word is refused.

    Raises ConfigError for files that cannot be used; `check_credentials` says more exactly what is wrong with them.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(credentials: Credentials) -> ssl.SSLContext:
    """Make the settings of who connects: TLS 1.3, our authority only, and the host's name is compared.

    Raises ConfigError as `server_context` does.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, credentials)  # which verifies, and compares names


def accept_tls(
    connection: socket.socket, context: ssl.SSLContext, seconds: float = HANDSHAKE_SECONDS
) -> ssl.SSLSocket:
    """Take over an accepted connection and shake hands within so many seconds in all; it then blocks.

    Raises AuthenticationFailed, with the connection closed, if the other side speaks no TLS, shows no certificate or a
    wrong one, or is too slow.

    Example: `secured = accept_tls(listener.accept()[0], server_context(credentials))`.
    """
    return _shake(context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), seconds)


def connect_tls(
    connection: socket.socket,
    context: ssl.SSLContext,
    host: str = CLUSTER_HOST,
    seconds: float = HANDSHAKE_SECONDS,
) -> ssl.SSLSocket:
    """Take over an open connection and shake hands within so many seconds in all; it then blocks.

    The other side's certificate must be for `host`. Raises AuthenticationFailed as `accept_tls` does. That the other
    side refuses *our* certificate shows at the first read only, as TLS 1.3 has it: give that error to `explain`.

    Example: `secured = connect_tls(socket.create_connection(address), client_context(credentials))`.
    """
    wrapped = context.wrap_socket(connection, server_hostname=host, do_handshake_on_connect=False)
    return _shake(wrapped, seconds)


def explain(error: OSError) -> AuthenticationFailed:
    """Return what a failed handshake, or the first read after one, means for the user."""
    if isinstance(error, ssl.SSLCertVerificationError):
        cure = _CURES.get(error.verify_code, error.verify_message)
        return AuthenticationFailed(f"the other side is refused: {cure}")
    if isinstance(error, TimeoutError):
        return AuthenticationFailed(
            "the other side did not finish the TLS handshake in time; does it speak TLS?"
        )
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return AuthenticationFailed(
            "the other side ended the connection in the handshake: it may speak no TLS, or refuse us; its log says why"
        )
    reason = getattr(error, "reason", None) or ""
    if "ALERT" in reason:
        why = reason.partition("ALERT_")[2].lower().replace("_", " ")
        return AuthenticationFailed(
            f"the other side refuses our certificate ({why}): is it of that cluster's authority, and has it expired?"
        )
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return AuthenticationFailed(
            "the other side showed no certificate; give it one of this cluster's authority"
        )
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "RECORD_LAYER_FAILURE"):
        return AuthenticationFailed(
            f"the other side does not speak TLS 1.3 ({reason.lower().replace('_', ' ')})"
        )
    return AuthenticationFailed(f"the TLS handshake failed: {error}")


def _context(protocol: int, credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cafile=credentials.ca_file)
        context.load_cert_chain(credentials.cert_file, credentials.key_file, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificates {credentials.ca_file}, {credentials.cert_file}, {credentials.key_file} cannot be used: "
            f"{error}"
        ) from error
    return context


def _no_password() -> str:
    # Without this OpenSSL would ask at the terminal, for ever.
    raise ConfigError(
        "the key of a certificate must not have a password: decrypt it, and keep it at mode 0600"
    )


def _shake(wrapped: ssl.SSLSocket, seconds: float) -> ssl.SSLSocket:
    """Bound the whole handshake, not each read of it: a peer that sends a byte a second must not hold us for hours."""
    deadline = time.monotonic() + seconds
    wrapped.settimeout(0)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(wrapped, selectors.EVENT_READ)
            while True:
                try:
                    wrapped.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    selector.modify(wrapped, selectors.EVENT_READ)
                except ssl.SSLWantWriteError:
                    selector.modify(wrapped, selectors.EVENT_WRITE)
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise TimeoutError
        wrapped.settimeout(None)
    except OSError as error:
        wrapped.close()
        raise explain(error) from error
    return wrapped


def grpc_server_credentials(credentials: Credentials) -> grpc.ServerCredentials:
    """Make what gRPC's `add_secure_port` takes: a client without our authority's word is refused.

    Raises ConfigError for files that cannot be read.
    """
    import grpc

    ca, cert, key = _pem(credentials)
    return grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=True)


def grpc_channel_credentials(
    credentials: Credentials, host: str = CLUSTER_HOST
) -> tuple[grpc.ChannelCredentials, tuple[tuple[str, str], ...]]:
    """Make what gRPC's `secure_channel` takes: the credentials, and the options by which `host` is asked for.

    Raises ConfigError as `grpc_server_credentials` does.

    Example: `grpc.secure_channel(address, made, options=[*options, *more])` with `made, more` from here.
    """
    import grpc

    ca, cert, key = _pem(credentials)
    made = grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)
    # It is the certificate's host that is compared with this name: another host's certificate is refused as ever.
    return made, (("grpc.ssl_target_name_override", host),)


def _pem(credentials: Credentials) -> tuple[bytes, bytes, bytes]:
    found = []
    for path in (credentials.ca_file, credentials.cert_file):
        try:
            with open(path, "rb") as file:
                found.append(file.read())
        except OSError as error:
            raise ConfigError(f"the certificate cannot be read: {path}: {error.strerror}") from error
    return found[0], found[1], read_private(credentials.key_file, "the certificate's key")
