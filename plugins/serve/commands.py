"""`shoal serve`: applications from the command line."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@click.group("serve")
def serve_command() -> None:
    """Deploy applications, and see how they are."""


def _address(function: F) -> F:
    return click.option(
        "--address", metavar="ADDRESS", help="The cluster. Default: SHOAL_ADDRESS, or the only cluster here."
    )(function)


def _json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


@contextlib.contextmanager
def _session(address: str | None, own: bool = False) -> Iterator[None]:
    """Join a cluster, or with `own` begin a session if none is named."""
    import shoal
    from shoal.errors import ShoalError

    sys.path.insert(0, os.getcwd())
    try:
        address = address or os.environ.get("SHOAL_ADDRESS")
        with shoal.init(address=address or (None if own else "auto"), log_to_driver=own):
            yield
    except (ShoalError, ValueError, ConnectionError) as error:
        raise click.ClickException(str(error)) from error


def _yaml() -> Any:
    import yaml

    return yaml


def _read(path: str) -> Any:
    yaml = _yaml()
    from shoal.serve.schema import read_config

    try:
        return read_config(yaml.safe_load(Path(path).read_text()))
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise click.ClickException(f"{path} is no YAML: {error}") from error
    except ValueError as error:
        raise click.ClickException(f"{path}: {error}") from error


@serve_command.command()
@click.argument("target", metavar="CONFIG_FILE|MODULE:NAME")
@_address
@click.option("--name", default="default", show_default=True, help="The application's name.")
@click.option("--route-prefix", default="/", show_default=True, help="Where HTTP finds it.")
@click.option("--port", type=int, help="The port of the proxy.")
@click.option("--host", help="The address the proxy listens at.")
@click.option(
    "--blocking/--non-blocking", default=True, help="Stay until Ctrl-C; without it a cluster is needed."
)
@_json
def run(
    target: str,
    address: str | None,
    name: str,
    route_prefix: str,
    port: int | None,
    host: str | None,
    blocking: bool,
    as_json: bool,
) -> None:
    """Serve a config file or an application, here or on a cluster."""
    from shoal.serve import api
    from shoal.serve.deploying import deploy_config, import_application

    with _session(address, own=blocking):
        options = {key: value for key, value in (("port", port), ("host", host)) if value is not None}
        if target.endswith((".yaml", ".yml")):
            config = _read(target)
            if options:
                api.start(http_options=options)
            deploy_config(config)
        else:
            api.start(http_options=options or None)
            api.run(import_application(target), name=name, route_prefix=route_prefix)
        urls = [f"http://{at}:{number}" for at, number in _addresses()]
        click.echo(json.dumps({"urls": urls}) if as_json else "\n".join(f"serving at {url}" for url in urls))
        if blocking:
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
            api.shutdown()


@serve_command.command()
@_address
@click.option("--http-host", help="The address at which proxies listen. Default: loopback.")
@click.option("--http-port", type=int, help="The port of HTTP. Default: 8000.")
@click.option(
    "--proxy-location", type=click.Choice(["EveryNode", "HeadOnly", "Disabled"]), help="Where proxies run."
)
@click.option("--grpc-port", type=int, help="The port of gRPC. Default: 9000.")
@click.option(
    "--grpc-servicer-functions",
    multiple=True,
    metavar="MODULE:NAME",
    help="A function add_…Servicer_to_server, once for each service; with one, proxies serve gRPC.",
)
@click.option(
    "--grpc-enable-reflection/--grpc-disable-reflection",
    default=False,
    help="Tell clients of gRPC which services there are.",
)
@_json
def start(
    address: str | None,
    http_host: str | None,
    http_port: int | None,
    proxy_location: str | None,
    grpc_port: int | None,
    grpc_servicer_functions: tuple[str, ...],
    grpc_enable_reflection: bool,
    as_json: bool,
) -> None:
    """Start the controller and the proxies on a cluster, without applications."""
    from shoal.serve import api

    http = {key: value for key, value in (("host", http_host), ("port", http_port)) if value is not None}
    rpcs: dict[str, Any] = {} if grpc_port is None else {"port": grpc_port}
    if grpc_servicer_functions:
        rpcs["grpc_servicer_functions"] = list(grpc_servicer_functions)
    elif grpc_port is not None or grpc_enable_reflection:
        raise click.UsageError("gRPC is served where --grpc-servicer-functions says what")
    if grpc_enable_reflection:
        rpcs["enable_reflection"] = True
    location = {} if proxy_location is None else {"proxy_location": proxy_location}
    with _session(address):
        api.start(http_options=http or None, grpc_options=rpcs or None, **location)  # type: ignore[arg-type]
        told: list[dict[str, Any]] = [
            {"url": each.url, "grpc_port": each.grpc_port} for each in api.proxies()
        ]
        lines = [
            each["url"] + (f", gRPC at port {each['grpc_port']}" if each["grpc_port"] else "")
            for each in told
        ]
        click.echo(
            json.dumps({"proxies": told}) if as_json else "\n".join(f"serving at {line}" for line in lines)
        )


@serve_command.command()
@click.argument("app")
@click.argument("to", required=False)
@_address
@click.option("--weight", type=float, default=0.0, help="The share of requests that goes there, 0 to 1.")
@click.option("--header", multiple=True, metavar="NAME=VALUE", help="Requests with this header go there.")
@click.option("--off", is_flag=True, help="Send all requests to the application itself again.")
@_json
def canary(
    app: str,
    to: str | None,
    address: str | None,
    weight: float,
    header: tuple[str, ...],
    off: bool,
    as_json: bool,
) -> None:
    """Send part of the requests of application APP to application TO."""
    from shoal.serve import api

    if off == (to is not None):
        raise click.UsageError("name the application that gets the requests, or say --off")
    if any("=" not in each for each in header):
        raise click.UsageError("--header is NAME=VALUE")
    headers = dict(each.split("=", 1) for each in header)
    with _session(address):
        api.canary(app, to, weight, headers)
        facts = {"application": app, "canary": to, "weight": weight, "header": headers}
        text = f"{app} has no canary" if off else f"{weight:.0%} of {app} goes to {to}"
        click.echo(json.dumps(facts) if as_json else text)


def _addresses() -> list[tuple[str, int]]:
    import shoal
    from shoal.serve.api import controller_or_none

    told = shoal.get(controller_or_none().proxies_ready.remote(30.0), timeout=60.0)
    return [(host, port) for host, port, _ in told.values() if port]


@serve_command.command()
@click.argument("config_file")
@_address
@_json
def deploy(config_file: str, address: str | None, as_json: bool) -> None:
    """Have exactly the applications of a config file run on a cluster."""
    from shoal.serve.deploying import deploy_config

    config = _read(config_file)
    with _session(address):
        deploy_config(config)
        names = [each.name for each in config.applications]
        click.echo(json.dumps({"applications": names}) if as_json else f"{', '.join(names)} run")


@serve_command.command()
@click.argument("import_paths", nargs=-1, required=True, metavar="MODULE:NAME…")
@click.option("--output-path", "-o", help="The file to write; without it the config is printed.")
@_json
def build(import_paths: tuple[str, ...], output_path: str | None, as_json: bool) -> None:
    """Write a config file for applications."""
    yaml = _yaml()
    from shoal.errors import ShoalError
    from shoal.serve.deploying import config_of

    sys.path.insert(0, os.getcwd())
    try:
        config = config_of(list(import_paths))
    except ShoalError as error:
        raise click.ClickException(str(error)) from error
    text = json.dumps(config) if as_json else yaml.safe_dump(config, sort_keys=False)
    if output_path is None:
        click.echo(text)
    else:
        Path(output_path).write_text(text)


@serve_command.command()
@_address
@_json
def status(address: str | None, as_json: bool) -> None:
    """Print how applications and proxies are."""
    yaml = _yaml()
    with _session(address):
        told = _details()
        plain = {
            "proxies": {node: each["status"] for node, each in told["proxies"].items()},
            "applications": {
                name: {
                    "status": app["status"],
                    "message": app["message"],
                    "deployments": {
                        each: {key: one[key] for key in ("status", "replica_states", "message")}
                        for each, one in app["deployments"].items()
                    },
                }
                for name, app in told["applications"].items()
            },
        }
        click.echo(json.dumps(plain) if as_json else yaml.safe_dump(plain, sort_keys=False).rstrip())


def _details() -> dict[str, Any]:
    import shoal
    from shoal.serve.api import controller_or_none

    controller = controller_or_none()
    if controller is None:
        return {"proxies": {}, "applications": {}, "config": None}
    told: dict[str, Any] = shoal.get(controller.details.remote(), timeout=60.0)
    return told


@serve_command.command()
@_address
@_json
def config(address: str | None, as_json: bool) -> None:
    """Print the config that was deployed last."""
    yaml = _yaml()
    with _session(address):
        found = _details()["config"]
        if found is None:
            raise click.ClickException("no config was deployed; `shoal serve deploy FILE` does that")
        click.echo(json.dumps(found) if as_json else yaml.safe_dump(found, sort_keys=False).rstrip())


@serve_command.command()
@_address
@_json
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def shutdown(address: str | None, as_json: bool, yes: bool) -> None:
    """End all applications and the proxies."""
    from shoal.serve import api

    if not yes:
        click.confirm("End all applications of the cluster?", abort=True)
    with _session(address):
        there = api.controller_or_none() is not None
        api.shutdown()
        click.echo(json.dumps({"ended": there}) if as_json else "ended" if there else "nothing was served")
