"""Shoal's services: models and other code behind HTTP and handles, in as many processes as the work needs.

The verbs are imported when they are first used: `shoal --help` needs no controller.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from shoal.serve.batching import batch
from shoal.serve.config import ControllerOptions, HTTPOptions
from shoal.serve.context import get_multiplexed_model_id, get_replica_context, get_trace_context
from shoal.serve.deployment import Application, Deployment, deployment
from shoal.serve.ingress import ingress
from shoal.serve.multiplex import multiplexed
from shoal.serve.tracing import TracingConfig

if TYPE_CHECKING:
    from shoal.serve.api import (
        ProxyAddress,
        RunTarget,
        canary,
        delete,
        get_app_handle,
        get_deployment_handle,
        proxies,
        run,
        run_many,
        scale,
        shutdown,
        shutdown_async,
        start,
        status,
    )
    from shoal.serve.companions import get_deployment_actor, get_deployment_actor_context

__all__ = [
    "Application",
    "ControllerOptions",
    "Deployment",
    "HTTPOptions",
    "ProxyAddress",
    "RunTarget",
    "TracingConfig",
    "batch",
    "canary",
    "delete",
    "deployment",
    "get_app_handle",
    "get_deployment_actor",
    "get_deployment_actor_context",
    "get_deployment_handle",
    "get_multiplexed_model_id",
    "get_replica_context",
    "get_trace_context",
    "ingress",
    "multiplexed",
    "proxies",
    "run",
    "run_many",
    "scale",
    "shutdown",
    "shutdown_async",
    "start",
    "status",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "companions" if name.startswith("get_deployment_actor") else "api"
    found = getattr(import_module(f"shoal.serve.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
