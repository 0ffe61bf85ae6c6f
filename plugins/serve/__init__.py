"""Shoal's services: models and other code behind HTTP and handles, in as many processes as the work needs."""

from __future__ import annotations

from shoal.serve.api import (
    ProxyAddress,
    RunTarget,
    delete,
    get_app_handle,
    get_deployment_handle,
    proxies,
    run,
    run_many,
    shutdown,
    shutdown_async,
    start,
    status,
)
from shoal.serve.batching import batch
from shoal.serve.config import HTTPOptions
from shoal.serve.context import get_multiplexed_model_id, get_replica_context, get_trace_context
from shoal.serve.deployment import Application, Deployment, deployment
from shoal.serve.ingress import ingress
from shoal.serve.multiplex import multiplexed

__all__ = [
    "Application",
    "Deployment",
    "HTTPOptions",
    "ProxyAddress",
    "RunTarget",
    "batch",
    "delete",
    "deployment",
    "get_app_handle",
    "get_deployment_handle",
    "get_multiplexed_model_id",
    "get_replica_context",
    "get_trace_context",
    "ingress",
    "multiplexed",
    "proxies",
    "run",
    "run_many",
    "shutdown",
    "shutdown_async",
    "start",
    "status",
]
