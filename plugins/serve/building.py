"""From a bound application to what the controller gets: every deployment in it, with handles for those it uses."""

from __future__ import annotations

import hashlib
import inspect
import io
from collections.abc import Mapping
from typing import Any

import attrs
import cloudpickle

from shoal.errors import ConfigError, NotSerializable
from shoal.serve.deployment import LIGHT, Application, DeploymentOptions
from shoal.serve.handle import DeploymentHandle
from shoal.serve.ingress import APP, docs_path_of
from shoal.serve.logs import LoggingConfig
from shoal.serve.messages import ApplicationSpec, DeploymentSpec


def build(
    app: Application,
    name: str,
    route_prefix: str | None,
    config: Mapping[str, Any] | None = None,
) -> ApplicationSpec:
    """Return an application as the controller takes it.

    The same bound deployment may be used at several places and is one; different ones of the same name get numbers.
    Raises NotSerializable for what cannot be sent.
    """
    found: dict[int, str] = {}
    names: dict[str, int] = {}
    specs: dict[str, DeploymentSpec] = {}
    calls: dict[str, list[str]] = {}
    path: list[str] = []

    def visit(one: Application) -> Any:
        if id(one) not in found:
            deployment = one._bound_deployment
            base = deployment.name
            number = names.get(base, 0)
            names[base] = number + 1
            mine = base if not number else f"{base}_{number}"
            found[id(one)] = mine
            calls[mine] = []
            path.append(mine)
            args = tuple(_replace(each, visit) for each in one._args)
            kwargs = {key: _replace(each, visit) for key, each in one._kwargs.items()}
            path.pop()
            made = spec_of(
                attrs.evolve(deployment._options, name=mine), deployment.func_or_class, args, kwargs
            )
            specs[mine] = attrs.evolve(made, calls=tuple(dict.fromkeys(calls[mine])))
        if path:
            calls[path[-1]].append(found[id(one)])
        return DeploymentHandle(found[id(one)], name)

    visit(app)
    return ApplicationSpec(
        name=name, route_prefix=route_prefix, ingress=found[id(app)], deployments=specs, config=config
    )


def with_wishes(
    spec: ApplicationSpec, logging: LoggingConfig | None, external_scaler: bool = False
) -> ApplicationSpec:
    """Return an application whose deployments log so unless they say otherwise, scaled from outside or not.

    Raises ConfigError if autoscaling is to decide as well.
    """
    deployments = dict(spec.deployments)
    for name, one in deployments.items():
        options = one.options
        if external_scaler and options.autoscaling_config is not None:
            raise ConfigError(
                f"deployment {name!r} has an autoscaling_config, and external_scaler_enabled says that its number of "
                "replicas comes from outside: leave one of them out"
            )
        if logging is not None and options.logging_config is None:
            options = attrs.evolve(options, logging_config=logging)
            deployments[name] = attrs.evolve(one, options=options, version=version_of(options, one.code))
    return attrs.evolve(spec, deployments=deployments, external_scaler=external_scaler)


def _replace(value: Any, visit: Any) -> Any:
    if isinstance(value, Application):
        return visit(value)
    if type(value) in (list, tuple, set):
        return type(value)(_replace(each, visit) for each in value)
    if type(value) is dict:
        return {key: _replace(each, visit) for key, each in value.items()}
    return value


def spec_of(
    options: DeploymentOptions, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> DeploymentSpec:
    """Return a deployment as it is sent. Raises NotSerializable naming what cannot be pickled."""
    try:
        code = pickled((target, args, kwargs))
    except Exception as error:  # users' objects raise what they like when they are pickled
        raise NotSerializable(
            f"deployment {options.name!r} cannot be sent: {type(error).__name__}: {error}. Make what cannot be pickled "
            "(locks, connections, open files) in its constructor"
        ) from error
    version = version_of(options, code)
    kind = "asgi" if hasattr(target, APP) else "class" if inspect.isclass(target) else "function"
    return DeploymentSpec(
        options=options, code=code, version=version, kind=kind, docs_path=docs_path_of(target)
    )


def version_of(options: DeploymentOptions, code: bytes) -> str:
    """Return what changes when a deployment needs new replicas: the version given, or a hash of code and options."""
    if options.version is not None:
        return options.version
    heavy = {name: value for name, value in attrs.asdict(options, recurse=False).items() if name not in LIGHT}
    return hashlib.sha256(code + repr(sorted(heavy.items())).encode()).hexdigest()[:16]


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Sends Starlette's and FastAPI's applications, too."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind.__module__ == "starlette.datastructures" and kind.__name__ == "State":
            return kind, (dict(obj._state),)
        return super().reducer_override(obj)


def pickled(value: Any) -> bytes:
    """Return what cloudpickle makes of a value, applications of ASGI included."""
    with io.BytesIO() as file:
        _Pickler(file).dump(value)
        return file.getvalue()
