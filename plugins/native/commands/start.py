"""`shoal start`, `shoal stop`: nodes of a cluster on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import attrs
import click

from shoal.config import Config, load_config
from shoal.errors import ConfigError
from shoal.observe.commands import json_option, say

if TYPE_CHECKING:
    from shoal.native.process.node import NodeInfo
    from shoal.native.security.bundle import Bundle

# Functions import what they need of the engine by themselves, since `shoal --help` imports this module too.


@click.command()
@click.option("--head", is_flag=True, help="Begin a cluster here.")
@click.option("--address", metavar="HOST:PORT", help="Join the cluster whose head is there.")
@click.option("--port", type=int, help="With --head: the port of the cluster (head_port; 0: any free one).")
@click.option("--host", help="Address to listen on (listen_host); default: loopback, for this machine only.")
@click.option("--num-cpus", type=float, help="CPUs that this node offers; default: all.")
@click.option("--num-gpus", type=float, help="GPUs that this node offers; default: all.")
@click.option("--resources", metavar="JSON", help="Other resources, e.g. '{\"special\": 2}'.")
@click.option("--labels", metavar="JSON", help='Labels of the node, e.g. \'{"zone": "a"}\'.')
@click.option("--object-store-memory", type=int, metavar="BYTES", help="Memory for objects.")
@click.option(
    "--token-file", type=click.Path(), help="The cluster's token; with --head it is made if it is not there."
)
@click.option(
    "--credentials",
    type=click.Path(),
    help="The cluster's credentials, token and authority in one file; with --head made if it is not there.",
)
@click.option("--tls-cert", type=click.Path(), help="A certificate of this node's own (tls_cert).")
@click.option("--tls-key", type=click.Path(), help="Its key, which only you can read (tls_key).")
@click.option("--tls-ca", type=click.Path(), help="The authorities that are trusted (tls_ca).")
@click.option(
    "--include-dashboard/--no-dashboard",
    default=None,
    help="With --head: whether there is a dashboard; it is.",
)
@click.option("--dashboard-host", help="With --head: where the dashboard listens; default: loopback.")
@click.option("--dashboard-port", type=int, help="With --head: its port; default: 8265, or the next.")
@click.option("--temp-dir", type=click.Path(), help="Folder of session folders.")
@click.option(
    "--block", is_flag=True, help="Stay until the node ends, and end it when told to: for containers."
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any setting of `shoal config`.")
@json_option("Print JSON.")
def start(
    head: bool,
    address: str | None,
    port: int | None,
    host: str | None,
    num_cpus: float | None,
    num_gpus: float | None,
    resources: str | None,
    labels: str | None,
    object_store_memory: int | None,
    token_file: str | None,
    credentials: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_ca: str | None,
    include_dashboard: bool | None,
    dashboard_host: str | None,
    dashboard_port: int | None,
    temp_dir: str | None,
    block: bool,
    settings: tuple[str, ...],
    json_: bool,
) -> None:
    """Start a node on this machine: the head of a new cluster, or one that joins a cluster.

    The node goes on in the background until `shoal stop`. All nodes prove to each other that they know the cluster's
    token, and beyond loopback they speak TLS: copy the head's credentials file to the other machines and name it there
    with --credentials.
    """
    from shoal.native.process.folders import sessions_folder
    from shoal.native.process.node import start_node
    from shoal.native.wire.addresses import split_address

    if head == (address is not None):
        raise click.UsageError("give either --head or --address HOST:PORT")
    if address is not None:
        if (include_dashboard, dashboard_host, dashboard_port) != (None, None, None):
            raise click.UsageError("the dashboard is the head's: give its options together with --head")
        split_address(address)  # refused here, and not when nobody has answered for a minute
    given: dict[str, Any] = {
        "head_port": port,
        "listen_host": host,
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "resources": _json("--resources", resources),
        "labels": _json("--labels", labels),
        "object_store_bytes": object_store_memory,
        "temp_dir": temp_dir,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_ca": tls_ca,
        "include_dashboard": include_dashboard,
        "dashboard_host": dashboard_host,
        "dashboard_port": dashboard_port,
    }
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes NAME=VALUE, not {setting!r}")
        given[_RENAMED.get(name, name)] = _value(value)
    config = load_config({name: value for name, value in given.items() if value is not None})
    if head and config.head_port:
        # A head that is started again on the same port goes on where the last one ended, if that did not end by `stop`.
        base = os.path.join(sessions_folder(config.temp_dir), f"cluster-{config.head_port}")
        if not token_file and "SHOAL_TOKEN_FILE" not in os.environ:
            credentials = credentials or os.environ.get("SHOAL_CREDENTIALS_FILE") or f"{base}.credentials"
        if config.metadata_location is None and config.metadata == "sqlite":
            config = attrs.evolve(config, metadata_location=f"{base}.db")
    if head and config.autoscaling:
        from shoal.registry.drivers import load_driver
        from shoal.registry.groups import COMPANIONS

        config = attrs.evolve(config, autoscaling=os.path.abspath(config.autoscaling))
        load_driver(COMPANIONS, "autoscaler")().check(config)
    bundle = _bundle(config, head, address, credentials, token_file)
    asked = (
        _until_asked() if block else None
    )  # before the node is there, so that no signal can leave it behind
    given_up = asked.is_set if asked else None
    info = start_node(config, bundle, address or "", given_up, lambda text: click.echo(text, err=True))
    say(attrs.asdict(info), lambda: _as_text(info, credentials), json_)
    if asked is not None:
        _stay(info, asked)


_LOOK_SECONDS = 0.2
_RENAMED = {"object_store_memory": "object_store_bytes", "memory": "memory_bytes"}


def _json(option: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{option} takes a JSON object, not {text!r}: {error}") from None
    if not isinstance(value, dict):
        raise click.UsageError(f"{option} takes a JSON object, not {text!r}")
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _bundle(
    config: Config, head: bool, address: str | None, credentials: str | None, token_file: str | None
) -> Bundle:
    """Return the cluster's credentials: of a file, of the environment, or of its head if that is on this machine."""
    from shoal.native.process.node import find_nodes
    from shoal.native.process.security import CREDENTIALS_FILE
    from shoal.native.security.bundle import Bundle, read_bundle
    from shoal.native.security.private import TOKEN_BYTES, make_token, read_token

    if credentials and token_file:
        raise click.UsageError("give --credentials or --token-file: the token is in the credentials")
    if not token_file:
        credentials = credentials or os.environ.get("SHOAL_CREDENTIALS_FILE")
    if credentials is not None:
        return _head_bundle(config, credentials) if head else read_bundle(credentials)
    path = token_file or os.environ.get("SHOAL_TOKEN_FILE")
    if path is not None:
        if head and not os.path.exists(path):
            return Bundle(make_token(path))
        return Bundle(read_token(path))
    if head:
        return Bundle(os.urandom(TOKEN_BYTES))
    for info in find_nodes(config.temp_dir):
        kept = os.path.join(info.folder, CREDENTIALS_FILE)
        if info.head_address == address and os.path.exists(kept):
            return read_bundle(kept)
    raise ConfigError(
        f"joining {address} needs the cluster's credentials: copy the head's file here and name it by --credentials or "
        "SHOAL_CREDENTIALS_FILE (`shoal start --head` shows where it is)"
    )


def _head_bundle(config: Config, path: str) -> Bundle:
    """Return the credentials in a head's file, which gets what it lacks: all, or the authority."""
    from shoal.native.security.bundle import make_bundle, read_bundle, write_bundle

    kept = read_bundle(path) if os.path.exists(path) else None
    with_authority = _makes_certificates(config)
    if kept is not None and (kept.has_authority or not with_authority):
        return kept
    made = make_bundle(with_authority)
    if kept is not None:
        made = attrs.evolve(made, token=kept.token)
    write_bundle(path + ".new", made)
    os.rename(path + ".new", path)
    return made


def _makes_certificates(config: Config) -> bool:
    """Tell whether a head makes the certificates of its cluster."""
    from shoal.native.security.policy import given_credentials, loopback, wants_tls

    return given_credentials(config) is None and wants_tls(config, [config.listen_host or loopback()], False)


def _as_text(info: NodeInfo, credentials: str | None) -> str:
    from shoal.native.process.security import CREDENTIALS_FILE
    from shoal.native.security.policy import is_loopback

    kept = credentials or os.path.join(info.folder, CREDENTIALS_FILE)
    lines = [f"Node {info.node_id} serves at {info.address} (process {info.pid}, session {info.name})."]
    if info.is_head:
        host = info.address.rpartition(":")[0].strip("[]")
        beyond = "" if is_loopback(host) else f" --host {host}"
        lines += [
            f"It is the head of the cluster at {info.head_address}.",
            "",
            f"To join from this machine:      shoal start --address {info.head_address}{beyond}",
            "To join from another machine:   "
            + f"shoal start --address {info.head_address} --host ITS_ADDRESS --credentials FILE",
            f"                                where FILE is a copy of {kept}, mode 0600",
            "In a program on one of them:    " + f'shoal.init(address="{info.head_address}")',
        ]
        if info.dashboard_url:
            lines.append(
                f"To see what goes on:            {info.dashboard_url}, with the token of `shoal dashboard`"
            )
    lines.append("To end what runs on this machine:  shoal stop")
    return "\n".join(lines)


def _until_asked() -> threading.Event:
    """What is set when a supervisor asks this process to end."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    return asked


def _stay(info: NodeInfo, asked: threading.Event) -> None:
    """Wait until a node has ended. Raises ClickException if nobody had asked for that."""
    from shoal.native.process.node import lives, stop_node

    while lives(info.pid) and not asked.wait(_LOOK_SECONDS):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # in a container this is the first process, and all that lose their parents become its children
    if not asked.is_set():
        raise click.ClickException(f"node {info.node_id} has ended; its logs are in {info.folder}/logs")
    stop_node(info)


@click.command("credentials")
@click.argument("file", type=click.Path())
@json_option("Print JSON.")
def make_credentials_file(file: str, json_: bool) -> None:
    """Make the credentials of a new cluster: a token, and an authority for certificates, in a FILE of mode 0600.

    `shoal start --credentials FILE` takes them, on the head and on every machine that joins. A head makes such a file
    by itself; this is for clusters whose machines are given their files before they are started.
    """
    from shoal.native.security.bundle import make_bundle, write_bundle

    try:
        write_bundle(file, make_bundle(with_authority=True))
    except OSError as error:
        raise click.ClickException(f"{file} cannot be made: {error.strerror}") from None
    text = f"{file} has the credentials of a new cluster. Who has a copy can join, so keep it private."
    say({"file": os.path.abspath(file)}, lambda: text, json_)


@click.command()
@click.option(
    "--node", metavar="NODE", help="Stop the node with this identifier (or the beginning of it) only."
)
@click.option("--force", is_flag=True, help="Kill its processes at once; other nodes find out by themselves.")
@click.option("--temp-dir", type=click.Path(), help="Folder of session folders.")
@json_option("Print JSON.")
def stop(node: str | None, force: bool, temp_dir: str | None, json_: bool) -> None:
    """Stop the nodes of clusters that run on this machine, and all work on them. The head goes last."""
    from shoal.native.process.node import find_nodes, stop_node
    from shoal.native.process.sweep import sweep_old_sessions

    config = load_config({"temp_dir": temp_dir} if temp_dir else {})
    found = find_nodes(config.temp_dir)
    chosen = [info for info in found if node is None or info.node_id.startswith(node)]
    if node is not None and not chosen:
        there = ", ".join(info.node_id for info in found) or "none"
        raise click.ClickException(f"no node {node!r} runs on this machine; there are: {there}")
    for info in sorted(chosen, key=lambda info: info.is_head):
        stop_node(info, force)
    sweep_old_sessions(config.temp_dir)  # what nodes that were killed have left
    plain = [attrs.asdict(info) for info in chosen]
    say(plain, lambda: f"{len(chosen)} nodes stopped." if chosen else "No node runs on this machine.", json_)
