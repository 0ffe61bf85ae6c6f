"""Routers that may wait: a class of one's own with `async def choose_replicas`."""

from shoal.serve.context import ReplicaID
from shoal.serve.request_router.mixins import FIFOMixin, LocalityMixin, MultiplexMixin
from shoal.serve.request_router.pending import PendingRequest, RequestMetadata
from shoal.serve.request_router.replicas import ReplicaQueueLengthCache, RunningReplica
from shoal.serve.request_router.router import RequestRouter

__all__ = [
    "FIFOMixin",
    "LocalityMixin",
    "MultiplexMixin",
    "PendingRequest",
    "ReplicaID",
    "ReplicaQueueLengthCache",
    "RequestMetadata",
    "RequestRouter",
    "RunningReplica",
]
