"""Declarative deployment: a config file becomes applications, whose code is imported where they will run."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

import shoal
from shoal.errors import ConfigError
from shoal.serve.api import controller_or_none, deploy_and_wait, start
from shoal.serve.building import build, version_of, with_wishes
from shoal.serve.canaries import canary_of
from shoal.serve.deployment import Application, make_options
from shoal.serve.logs import logging_config
from shoal.serve.messages import ApplicationSpec
from shoal.serve.policies import policy_of

if TYPE_CHECKING:
    from shoal.serve.schema import ServeApplicationSchema, ServeDeploySchema

_BUILD_SECONDS = 600.0
_CALL_SECONDS = 60.0


def import_application(path: str, args: Mapping[str, Any] | None = None) -> Application:
    """Return the application that MODULE:NAME names, or what a function of that name makes of `args`.

    Raises ConfigError if there is none; what the module raises comes out.

    Example: `import_application("site.app:app")`
    """
    module, _, name = path.rpartition(":" if ":" in path else ".")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise
        raise ConfigError(f"{path}: there is no module {error.name!r} here") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{path}: module {module!r} has no {name!r}")
        found = getattr(found, part)
    if not isinstance(found, Application) and callable(found):
        found = found(dict(args)) if args else found()
    if not isinstance(found, Application):
        raise ConfigError(
            f"{path} is {found!r}: it must be what bind() returns, or a function that returns that"
        )
    return found


def _build_there(plain: dict[str, Any]) -> ApplicationSpec:
    """Runs in a task, in the application's environment."""
    from shoal.serve.schema import ServeApplicationSchema

    return built(ServeApplicationSchema.model_validate(plain))


def built(schema: ServeApplicationSchema) -> ApplicationSpec:
    """Return an application of a config file as the controller takes it. Raises ConfigError."""
    app = import_application(schema.import_path, schema.args)
    spec = build(app, schema.name, schema.route_prefix, schema.model_dump(exclude_unset=True))
    deployments = dict(spec.deployments)
    for change in schema.deployments:
        one = deployments.get(change.name)
        if one is None:
            raise ConfigError(
                f"application {schema.name!r} has no deployment {change.name!r}; it has {', '.join(deployments)}"
            )
        changes = change.changes()
        if "ray_actor_options" in changes:
            changes["ray_actor_options"] = {
                **one.options.ray_actor_options,
                **{key: value for key, value in changes["ray_actor_options"].items() if value is not None},
            }
        deployments[change.name] = attrs.evolve(one, options=make_options(one.options, changes))
    for name, one in deployments.items():
        options = one.options
        if schema.runtime_env and "runtime_env" not in options.ray_actor_options:
            actor = {**options.ray_actor_options, "runtime_env": schema.runtime_env}
            options = attrs.evolve(options, ray_actor_options=actor)
        deployments[name] = attrs.evolve(one, options=options, version=version_of(options, one.code))
    spec = attrs.evolve(
        spec,
        deployments=deployments,
        policy=policy_of(schema.autoscaling_policy),
        canary=canary_of(schema.canary),
    )
    return with_wishes(spec, logging_config(schema.logging_config), schema.external_scaler_enabled)


def deploy_config(config: ServeDeploySchema, wait: bool = True) -> None:
    """Have exactly the applications of a config run: the others that a config brought are deleted.

    Raises DeployFailedError, ConfigError.

    Example: `deploy_config(read_config(yaml.safe_load(text)))`
    """
    if controller_or_none() is None:
        http = config.http_options.model_dump() if config.http_options is not None else None
        start(
            proxy_location=config.proxy_location,
            http_options=http,
            grpc_options=config.grpc_options.model_dump() if config.grpc_options is not None else None,
            logging_config=config.logging_config,
            tracing_config=config.tracing_config,
            controller_options=config.controller_options,
        )
    task = shoal.remote(_build_there)
    specs = shoal.get(
        [
            task.options(num_cpus=0, runtime_env=each.runtime_env or None).remote(
                each.model_dump(exclude_unset=True)
            )
            for each in config.applications
        ],
        timeout=_BUILD_SECONDS,
    )
    controller = controller_or_none()
    before = shoal.get(controller.details.remote(), timeout=_CALL_SECONDS)["config"] or {"applications": []}
    names = {each.name for each in config.applications}
    gone = [name for each in before["applications"] if (name := each.get("name", "default")) not in names]
    shoal.get(controller.delete.remote(gone), timeout=_CALL_SECONDS)
    shoal.get(controller.keep_config.remote(config.model_dump(exclude_unset=True)), timeout=_CALL_SECONDS)
    deploy_and_wait(specs, wait)


def config_of(paths: list[str]) -> dict[str, Any]:
    """Return a config that serves what import paths name, with every option that can be changed.

    Example: `yaml.safe_dump(config_of(["site.app:app"]))`
    """
    applications = []
    for number, path in enumerate(paths):
        spec = build(import_application(path), f"app{number + 1}", "/")
        applications.append(
            {
                "name": f"app{number + 1}",
                "route_prefix": "/" if len(paths) == 1 else f"/app{number + 1}",
                "import_path": path,
                "runtime_env": {},
                "deployments": [_plain(one.options) for one in spec.deployments.values()],
            }
        )
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "127.0.0.1", "port": 8000},
        "applications": applications,
    }


_WRITTEN = (
    "num_replicas",
    "max_ongoing_requests",
    "user_config",
    "ray_actor_options",
    "max_replicas_per_node",
)


def _plain(options: Any) -> dict[str, Any]:
    """Return what is most often changed, as a file says it."""
    found = {name: value for name in _WRITTEN if (value := getattr(options, name))}
    found["ray_actor_options"] = dict(options.ray_actor_options)
    if options.autoscaling_config is not None:
        scaling = attrs.asdict(
            options.autoscaling_config,
            filter=lambda field, value: field.name != "policy" and value is not None,
        )
        scaling["aggregation_function"] = options.autoscaling_config.aggregation_function.value
        found |= {"num_replicas": "auto", "autoscaling_config": scaling}
    return {"name": options.name, **found}
