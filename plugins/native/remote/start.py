"""Beginning a session from outside the cluster: `shoal.init(address="shoal://host:port")`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, TypeVar

import attrs

from shoal.config import Config
from shoal.errors import ConfigError
from shoal.interfaces.engine import Engine
from shoal.native.process.drive import begin_driver
from shoal.native.process.environments import JOB
from shoal.native.process.job import job_of_settings
from shoal.native.process.join import OWN_SETTINGS, refuse_node_settings
from shoal.native.process.node import find_nodes
from shoal.native.process.security import CREDENTIALS_FILE
from shoal.native.process.session import Session
from shoal.native.remote.client import RemoteClient
from shoal.native.remote.greet import greet, parse_address
from shoal.native.remote.modules import ClientModules
from shoal.native.remote.store import RemoteStore
from shoal.native.remote.tunnel import Tunnel
from shoal.native.security.bundle import Bundle, credentials_of, read_bundle
from shoal.native.security.certificates import CLUSTER_HOST, Credentials, check_credentials
from shoal.native.security.policy import given_credentials, wants_tls
from shoal.native.transport.links import Links
from shoal.native.wire.kinds import PROTOCOL
from shoal.spec.version import VERSION

_E = TypeVar("_E", bound=Engine)

_ALLOWED = {
    "accelerators",
    "allow_plaintext",
    "credentials_file",
    "head_wait_seconds",
    "log_level",
    "temp_dir",
}
_TLS = {"tls", "tls_ca", "tls_cert", "tls_key"}


def start_client(config: Config, make_engine: Callable[[RemoteClient, ClientModules, str], _E]) -> _E:
    """Be a driver of the cluster at a shoal:// address. Raises ConfigError, AuthenticationFailed, SystemFailure."""
    if config.address is None or not config.address.startswith("shoal://"):
        raise ConfigError(
            f'engine="client" is for programs outside a cluster: address="shoal://HOST:PORT", not {config.address!r}'
        )
    refuse_node_settings(config, _ALLOWED | _TLS)
    place = parse_address(config.address)
    # For a certificate of this client's own; it is read once, so that nothing of it is left on the disk.
    folder = tempfile.mkdtemp(prefix="shoal-client-")
    try:
        bundle, tls, tls_host = _credentials(config, place, folder)
        links = Links(tls, tls_host)
        facts = {
            "protocol": PROTOCOL,
            "shoal": VERSION,
            "python": ".".join(map(str, _python())),
            "grace": config.client_grace_seconds,
        }
        welcome = greet(place, bundle.token, links, facts, config.head_wait_seconds)
        if tls is not None:
            links.client_context()  # for good, since the files go
        return _begin(config, place, bundle.token, links, welcome, make_engine)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _python() -> tuple[int, int]:
    import sys

    return sys.version_info[:2]


def _begin(
    config: Config,
    place: str,
    token: bytes,
    links: Links,
    welcome: dict[str, Any],
    make_engine: Callable[[RemoteClient, ClientModules, str], _E],
) -> _E:
    own = {name: getattr(config, name) for name in OWN_SETTINGS}
    joined = Config.from_wire({**Config().to_wire(), **welcome["config"], **own})
    driver = welcome["driver"]
    namespace = config.namespace or os.urandom(8).hex()
    job_id = os.urandom(4)
    told = welcome["session"]
    session = Session(
        **{**told, "job_id": job_id, "namespace": namespace},
        token=token,
        store_folder="",
        driver=driver,
        driver_pid=os.getpid(),
        is_head=False,
        config=joined.to_wire(),
    )
    tunnel = Tunnel(place, token, links, welcome["gateway"], driver, config.client_grace_seconds)
    client = RemoteClient(session, joined, driver, RemoteStore(tunnel), tunnel)
    modules = ClientModules(tunnel, _shipped(config.runtime_env))
    try:
        tunnel.begin(config.head_wait_seconds)
        # Nothing of this machine's folders is there: what only the client has goes by value, or in the runtime_env.
        checked = client.check_environment(config.runtime_env)
        job = {
            "driver": driver,
            "id": job_id,
            "namespace": namespace,
            "path": [],
            "folder": "",
            "spec": job_of_settings(config, job_id).to_wire(),
            "environment": checked,
        }
        environment = {**checked, JOB: job}
        client.session = attrs.evolve(session, environment=environment)
    except BaseException:
        client.close()
        raise
    return begin_driver(
        client,
        welcome["labels"],
        None,
        lambda client, worker, daemon: make_engine(client, modules, f"shoal://{place}"),
        welcome["pid"],
    )


def _shipped(runtime_env: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files and folders that the workers will have."""
    given: Iterable[Any] = [runtime_env.get("working_dir"), *(runtime_env.get("py_modules") or ())]
    for each in given:
        path = each.get("path") if isinstance(each, Mapping) else each
        if isinstance(path, ModuleType):
            yield from getattr(path, "__path__", None) or [path.__file__ or ""]
        elif isinstance(path, (str, os.PathLike)):
            yield os.path.expanduser(os.fspath(path))


def _credentials(config: Config, place: str, folder: str) -> tuple[Bundle, Credentials | None, str]:
    """Return what this client proves itself with: the token, and for TLS a certificate and the name of the others'."""
    bundle = (
        read_bundle(config.credentials_file) if config.credentials_file else _of_this_machine(config, place)
    )
    host = place.rpartition(":")[0]
    given = given_credentials(config)
    if not wants_tls(config, [host], given is not None or bundle.has_authority):
        return bundle, None, ""
    if given is not None:
        check_credentials(given)
        try:
            check_credentials(given, [CLUSTER_HOST])
        except ConfigError:
            return bundle, given, ""
        return bundle, given, CLUSTER_HOST
    if not bundle.has_authority:
        raise ConfigError(
            f"the cluster at {place} is reached by TLS, and these credentials have no authority to make a certificate "
            "of: give the head's whole credentials file, or tls_cert, tls_key and tls_ca as well"
        )
    return bundle, credentials_of(bundle, folder, ["localhost"]), CLUSTER_HOST


def _of_this_machine(config: Config, place: str) -> Bundle:
    """Return the credentials of a node that runs here: who may read them need not be given them."""
    for info in find_nodes(config.temp_dir):
        if place in (info.head_address, info.address):
            session = Session.read(info.folder)
            kept = os.path.join(info.folder, CREDENTIALS_FILE)
            if os.path.exists(kept):
                return read_bundle(kept)
            if not session.tls:
                return Bundle(session.token)
    raise ConfigError(
        f"no credentials for the cluster at {place}: copy the head's credentials file to this machine, and name it by "
        "credentials_file=… or SHOAL_CREDENTIALS_FILE"
    )
