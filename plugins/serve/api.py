"""The verbs: start, run, look, delete, shut down."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

import shoal
from shoal.errors import ConfigError, ShoalError, describe
from shoal.serve import checks
from shoal.serve.building import build, with_wishes
from shoal.serve.canaries import Canary
from shoal.serve.config import ControllerOptions, HTTPOptions, ProxyLocation
from shoal.serve.control.controller import Controller
from shoal.serve.deployment import Application, Deployment
from shoal.serve.exceptions import DeployFailedError, ServeError
from shoal.serve.grpc_options import grpc_options as make_grpc
from shoal.serve.grpc_options import gRPCOptions
from shoal.serve.handle import DeploymentHandle
from shoal.serve.ingresses.loading import make_ingress
from shoal.serve.logs import LoggingConfig
from shoal.serve.logs import logging_config as make_logging
from shoal.serve.messages import CONTROLLER, NAMESPACE
from shoal.serve.statuses import ServeStatus, status_of
from shoal.serve.tracing import TracingConfig
from shoal.serve.tracing import tracing_config as make_tracing

_log = logging.getLogger("shoal.serve")
_UNSET: Any = object()
_BEGIN_SECONDS = 60.0
_SAY_SECONDS = 15.0  # between two lines while a deployment comes up
_DEPLOY_SECONDS = 3600.0
_DELETE_SECONDS = 120.0
_SHUTDOWN_SECONDS = 60.0


def controller_or_none() -> Any:
    """Return the controller of this session, None if services were not started."""
    if not shoal.is_initialized():
        return None
    try:
        return shoal.get_actor(CONTROLLER, NAMESPACE)
    except ValueError:
        return None


def _controller() -> Any:
    found = controller_or_none()
    if found is None:
        raise ServeError("shoal.serve is not running; begin with serve.run(...) or serve.start()")
    return found


def _http_options(given: Any, location: Any) -> HTTPOptions:
    if given is None:
        given = {}
    if isinstance(given, HTTPOptions):
        options = given
        return options if location is _UNSET else attrs.evolve(options, location=location)
    known = {field.name for field in attrs.fields(HTTPOptions)}
    values = checks.mapping(given, "http_options")
    if unknown := sorted(values.keys() - known):
        raise ConfigError(f"http_options has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    if location is not _UNSET:
        values["location"] = location
    values.setdefault("location", ProxyLocation.EveryNode)
    return HTTPOptions(**values)


def start(
    proxy_location: ProxyLocation | str | None = _UNSET,
    http_options: HTTPOptions | Mapping[str, Any] | None = None,
    grpc_options: gRPCOptions | Mapping[str, Any] | None = None,
    logging_config: LoggingConfig | Mapping[str, Any] | None = None,
    tracing_config: TracingConfig | Mapping[str, Any] | None = None,
    controller_options: ControllerOptions | Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    """Start the controller and the proxies, if they are not there; begins a session if there is none.

    `run` does it too, with the options as they are. `proxy_location` is where proxies run: "EveryNode" (as is),
    "HeadOnly" or "Disabled". With `grpc_options` they serve gRPC as well. `logging_config` is how the controller, the
    proxies, and replicas without one of their own write their logs, `tracing_config` which requests become spans,
    `controller_options` the environment of the controller. When services run already, other options than theirs are
    an error: shut them down first.

    Raises ConfigError for options that are wrong, ServeError if a port cannot be had.

    Example: `serve.start(http_options={"port": 8080})`
    """
    from shoal.serve.proxy.actor import require

    if kwargs:
        raise ConfigError(
            f"start() has no {', '.join(sorted(kwargs))}: what proxies do is said by http_options and grpc_options"
        )
    for package in ("uvicorn", "starlette"):
        require(package)
    options = _http_options(http_options, proxy_location)
    if options.http2:
        require("hypercorn", "http2")
    make_ingress(options.ingress).check(options)
    rpcs = make_grpc(grpc_options)
    if rpcs.grpc_servicer_functions:
        for package in ("grpc", "google.protobuf"):
            require(package, "grpc")
        rpcs.grpc_servicer_func_callable  # noqa: B018  (what cannot be imported is told here, not by a proxy)
    logs, spans = make_logging(logging_config), make_tracing(tracing_config)
    controls = (
        controller_options
        if isinstance(controller_options, ControllerOptions)
        else ControllerOptions(**checks.mapping(controller_options or {}, "controller_options"))
    )
    if not shoal.is_initialized():
        shoal.init()
    there = controller_or_none()
    asked = http_options is not None or proxy_location is not _UNSET
    made = (
        shoal.remote(Controller)
        .options(
            name=CONTROLLER,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_task_retries=-1,
            num_cpus=0,
            max_concurrency=1_000_000,
            runtime_env=dict(controls.runtime_env) if controls.runtime_env else None,
        )
        .remote(options, logs, spans, rpcs)
    )
    running = shoal.get(made.begin.remote(), timeout=_BEGIN_SECONDS)
    if there is not None:
        for differs, what in (
            (asked and running["http"] != options, running["http"]),
            (grpc_options is not None and running["grpc"] != rpcs, running["grpc"]),
        ):
            if differs:
                raise ServeError(
                    f"services run already with {what}; call serve.shutdown() before you start them with others"
                )
        return
    told = shoal.get(made.proxies_ready.remote(_BEGIN_SECONDS), timeout=2 * _BEGIN_SECONDS)
    mine = shoal.get_runtime_context().get_node_id()
    failed = {node: message for node, (_, port, message) in told.items() if message and not port}
    if failed and (mine in failed or len(failed) == len(told)):
        shutdown()
        raise ServeError(next(iter(failed.values())))


@attrs.frozen(kw_only=True)
class RunTarget:
    """One application for `run_many`."""

    target: Application
    name: str = "default"
    route_prefix: str | None = "/"
    logging_config: LoggingConfig | Mapping[str, Any] | None = None
    external_scaler_enabled: bool = False


def run(
    target: Application,
    blocking: bool = False,
    name: str = "default",
    route_prefix: str | None = "/",
    logging_config: LoggingConfig | Mapping[str, Any] | None = None,
    _local_testing_mode: bool = False,
    external_scaler_enabled: bool = False,
    controller_options: ControllerOptions | Mapping[str, Any] | None = None,
) -> DeploymentHandle:
    """Deploy an application and return a handle of its first deployment, when it serves.

    An application of the same name is updated: replicas whose code or options changed are replaced one after
    another, without a request lost. `route_prefix` is where HTTP finds it, None nowhere. `blocking` stays until
    Ctrl-C, and then shuts services down. `logging_config` is for deployments without one of their own. With
    `external_scaler_enabled` whoever calls `scale` decides how many replicas there are, and no deployment may have an
    `autoscaling_config`. `controller_options` are for services that this call starts.

    Raises DeployFailedError with what the constructor raised, ConfigError, ValueError for a route that is another
    application's, NotSerializable.

    Example: `serve.run(Model.bind(), route_prefix="/classify")`
    """
    if _local_testing_mode:
        from shoal.serve.local import run_locally

        return run_locally(target, name)
    one = RunTarget(
        target=target,
        name=name,
        route_prefix=route_prefix,
        logging_config=logging_config,
        external_scaler_enabled=external_scaler_enabled,
    )
    [handle] = run_many([one], blocking=blocking, controller_options=controller_options)
    return handle


def run_many(
    targets: Sequence[RunTarget],
    blocking: bool = False,
    wait_for_applications_running: bool = True,
    controller_options: ControllerOptions | Mapping[str, Any] | None = None,
) -> list[DeploymentHandle]:
    """Deploy several applications together and return their handles; see `run`."""
    specs = []
    for each in targets:
        target: Any = each.target
        if isinstance(target, Deployment):
            raise TypeError(
                f"run() takes an application: {target.name}.bind(...) makes one of the deployment"
            )
        if not isinstance(target, Application):
            raise TypeError(f"run() takes what bind() returns, not {describe(target)}")
        if not each.name or "#" in str(each.name):
            raise ConfigError(f"an application's name is text without #, not {describe(each.name)}")
        spec = build(each.target, each.name, checks.route_prefix(each.route_prefix))
        specs.append(with_wishes(spec, make_logging(each.logging_config), each.external_scaler_enabled))
    start(controller_options=controller_options)
    deploy_and_wait(specs, wait_for_applications_running)
    handles = [DeploymentHandle(spec.ingress, spec.name) for spec in specs]
    if blocking:
        _block()
    return handles


def deploy_and_wait(specs: Sequence[Any], wait: bool = True) -> None:
    """Deploy applications and wait until they run. Raises DeployFailedError."""
    controller = _controller()
    shoal.get(controller.deploy.remote(list(specs)), timeout=_BEGIN_SECONDS)
    names = [spec.name for spec in specs]
    end = time.monotonic() + _DEPLOY_SECONDS
    while wait:
        states = shoal.get(
            controller.wait_for.remote(names, _SAY_SECONDS), timeout=_SAY_SECONDS + _BEGIN_SECONDS
        )
        failed = {name: message for name, (status, message) in states.items() if status == "DEPLOY_FAILED"}
        if failed:
            raise DeployFailedError(
                "\n".join(f"application {name!r}: {text}" for name, text in failed.items())
            )
        slow = [name for name, (status, _) in states.items() if status != "RUNNING"]
        if not slow:
            return
        text = f"applications {slow} do not serve yet: serve.status() and `shoal list actors` say what they wait for"
        if time.monotonic() > end:
            raise DeployFailedError(text)
        _log.warning(text)


def _block() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        shutdown()


def delete(name: str, _blocking: bool = True) -> None:
    """End an application, when its replicas have finished what they have. One that is not there is no error.

    Example: `serve.delete("default")`
    """
    controller = _controller()
    found = shoal.get(controller.delete.remote([name]), timeout=_BEGIN_SECONDS)
    end = time.monotonic() + _DELETE_SECONDS
    while found and _blocking:
        states = shoal.get(controller.wait_for.remote([name], 1.0), timeout=_BEGIN_SECONDS)
        if states[name][0] != "DELETING":
            return
        if time.monotonic() > end:
            raise ServeError(f"application {name!r} did not end within {_DELETE_SECONDS:g} s")


def status() -> ServeStatus:
    """Return how applications and proxies stand; nothing at all if services were not started."""
    controller = controller_or_none()
    if controller is None:
        return ServeStatus()
    return status_of(shoal.get(controller.status.remote(), timeout=_BEGIN_SECONDS))


@attrs.frozen
class ProxyAddress:
    """Where one node's proxy listens; `message` says why it does not. `grpc_port` is 0 where it serves no gRPC."""

    node_id: str
    host: str
    port: int
    url: str
    message: str
    grpc_port: int = 0


def proxies() -> list[ProxyAddress]:
    """Return where the proxies listen, when all serve or have failed. Raises ServeError if services were not started.

    Example: `serve.proxies()[0].url`
    """
    told = shoal.get(_controller().proxies_ready.remote(_BEGIN_SECONDS), timeout=2 * _BEGIN_SECONDS)
    options = shoal.get(_controller().begin.remote(), timeout=_BEGIN_SECONDS)["http"]
    rpcs = shoal.get(_controller().grpc_ports.remote(), timeout=_BEGIN_SECONDS)
    scheme = "https" if options.ssl_certfile else "http"
    return [
        ProxyAddress(
            node,
            host,
            port,
            f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}",
            message,
            rpcs.get(node, 0),
        )
        for node, (host, port, message) in told.items()
    ]


def get_app_handle(name: str = "default") -> DeploymentHandle:
    """Return a handle of an application's first deployment. Raises ServeError if there is no such application."""
    try:
        ingress = shoal.get(_controller().ingress_of.remote(name), timeout=_BEGIN_SECONDS)
    except ValueError as error:
        raise ServeError(str(error).splitlines()[-1]) from None
    return DeploymentHandle(ingress, name)


def get_deployment_handle(
    deployment_name: str, app_name: str | None = None, _check_exists: bool = True
) -> DeploymentHandle:
    """Return a handle of a deployment; without `app_name` of the application that the calling replica belongs to, or
    of "default".

    Raises ServeError if there is none.
    """
    from shoal.serve.context import replica_context_or_none

    if app_name is None:
        here = replica_context_or_none()
        app_name = here.app_name if here is not None else "default"
    if _check_exists and not shoal.get(
        _controller().has.remote(app_name, deployment_name), timeout=_BEGIN_SECONDS
    ):
        raise ServeError(f"there is no deployment {deployment_name!r} in application {app_name!r}")
    return DeploymentHandle(deployment_name, app_name)


def scale(deployment_name: str, num_replicas: int, app_name: str = "default") -> None:
    """Give a deployment another number of replicas, of an application run with `external_scaler_enabled`.

    Raises ServeError if there is no such deployment, or its application is not scaled from outside.

    Example: `serve.scale("Model", 4)`
    """
    if type(num_replicas) is not int or num_replicas < 0:
        raise ConfigError(f"num_replicas must be a whole number ≥ 0, not {describe(num_replicas)}")
    try:
        shoal.get(_controller().scale.remote(app_name, deployment_name, num_replicas), timeout=_BEGIN_SECONDS)
    except ValueError as error:
        raise ServeError(str(error).splitlines()[-1]) from None


def canary(
    app_name: str, application: str | None, weight: float = 0.0, header: Mapping[str, str] | None = None
) -> None:
    """Send part of the HTTP and gRPC requests of an application to another one; with `application=None` none any more.

    The share `weight` (0 to 1) of them goes there, and those with any of the values of `header` (of gRPC: metadata).
    The other application needs no route of its own, and may have one. When this returns, the proxies know. Each call
    says all there is: none of an earlier call's stays.

    Raises ConfigError, ServeError if there is no such application.

    Example: `serve.canary("words", "words-v2", weight=0.1, header={"X-Canary": "on"})`
    """
    made = (
        None if application is None else Canary(application=application, weight=weight, header=header or {})
    )
    if made is None and (weight or header):
        raise ConfigError("application=None ends a canary: leave weight and header out")
    try:
        shoal.get(_controller().set_canary.remote(app_name, made), timeout=_BEGIN_SECONDS)
    except ValueError as error:
        raise ServeError(str(error).splitlines()[-1]) from None


def shutdown() -> None:
    """End all applications, the proxies and the controller. Without services nothing happens.

    Example: `serve.shutdown()`
    """
    controller = controller_or_none()
    if controller is None:
        return
    try:
        shoal.get(controller.shutdown.remote(_SHUTDOWN_SECONDS), timeout=2 * _SHUTDOWN_SECONDS)
    except ShoalError as error:
        _log.warning("services did not end in order: %s", error)
    finally:
        shoal.kill(controller)


async def shutdown_async() -> None:
    """Do as `shutdown`, without stopping the event loop."""
    await asyncio.to_thread(shutdown)
