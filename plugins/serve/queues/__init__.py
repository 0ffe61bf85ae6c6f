"""Deployments that take tasks from queues: for work that nobody waits for at the other end of a connection."""

from __future__ import annotations

from shoal.serve.queues.adapter import TaskProcessorAdapter, TaskResult
from shoal.serve.queues.config import CeleryAdapterConfig, TaskProcessorConfig
from shoal.serve.queues.consumer import instantiate_adapter_from_config, task_consumer, task_handler

__all__ = [
    "CeleryAdapterConfig",
    "TaskProcessorAdapter",
    "TaskProcessorConfig",
    "TaskResult",
    "instantiate_adapter_from_config",
    "task_consumer",
    "task_handler",
]
