"""Shoal: tasks, actors and objects on many processes and machines. Nothing runs at import."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal import exceptions
    from shoal.api.actor_class import ActorClass
    from shoal.api.actors import exit_actor, get_actor, kill, list_named_actors
    from shoal.api.context import RuntimeContext, get_gpu_ids, get_runtime_context
    from shoal.api.function import RemoteFunction
    from shoal.api.groups import (
        PlacementGroup,
        get_current_placement_group,
        get_placement_group,
        placement_group,
        placement_group_table,
        remove_placement_group,
    )
    from shoal.api.handle import ActorHandle, ActorMethod
    from shoal.api.objects import cancel, free, get, put, wait
    from shoal.api.remote import method, remote
    from shoal.api.serializers import (
        FailureTuple,
        deregister_serializer,
        inspect_serializability,
        register_serializer,
    )
    from shoal.api.session import SessionContext, init, is_initialized, shutdown
    from shoal.api.state import available_resources, cluster_resources, explain, nodes, timeline
    from shoal.api.strategies import (
        DoesNotExist,
        Exists,
        In,
        NodeAffinitySchedulingStrategy,
        NodeLabelSchedulingStrategy,
        NotIn,
        PlacementGroupSchedulingStrategy,
    )
    from shoal.ids import ActorID, JobID, NodeID, ObjectID, PlacementGroupID, TaskID, WorkerID
    from shoal.interfaces.refs import DynamicObjectRefGenerator, ObjectRef, ObjectRefGenerator

__version__ = "0.1.0"

__all__ = [
    "ActorClass",
    "ActorHandle",
    "ActorID",
    "ActorMethod",
    "DoesNotExist",
    "DynamicObjectRefGenerator",
    "Exists",
    "FailureTuple",
    "In",
    "JobID",
    "NodeAffinitySchedulingStrategy",
    "NodeID",
    "NodeLabelSchedulingStrategy",
    "NotIn",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroup",
    "PlacementGroupID",
    "PlacementGroupSchedulingStrategy",
    "RemoteFunction",
    "RuntimeContext",
    "SessionContext",
    "TaskID",
    "WorkerID",
    "__version__",
    "available_resources",
    "cancel",
    "cluster_resources",
    "deregister_serializer",
    "exceptions",
    "exit_actor",
    "explain",
    "free",
    "get",
    "get_actor",
    "get_current_placement_group",
    "get_gpu_ids",
    "get_placement_group",
    "get_runtime_context",
    "init",
    "inspect_serializability",
    "is_initialized",
    "kill",
    "list_named_actors",
    "method",
    "nodes",
    "placement_group",
    "placement_group_table",
    "put",
    "register_serializer",
    "remote",
    "remove_placement_group",
    "shutdown",
    "timeline",
    "wait",
]

# Where the names are, to be imported when they are first used: a session's other processes start with other parts of
# this package, and a driver imports the rest while its session comes up. A test compares this with the imports above.
_HOMES = {
    "shoal.api.actor_class": ("ActorClass",),
    "shoal.api.actors": ("exit_actor", "get_actor", "kill", "list_named_actors"),
    "shoal.api.context": ("RuntimeContext", "get_gpu_ids", "get_runtime_context"),
    "shoal.api.function": ("RemoteFunction",),
    "shoal.api.groups": (
        "PlacementGroup",
        "get_current_placement_group",
        "get_placement_group",
        "placement_group",
        "placement_group_table",
        "remove_placement_group",
    ),
    "shoal.api.handle": ("ActorHandle", "ActorMethod"),
    "shoal.api.objects": ("cancel", "free", "get", "put", "wait"),
    "shoal.api.remote": ("method", "remote"),
    "shoal.api.serializers": (
        "FailureTuple",
        "deregister_serializer",
        "inspect_serializability",
        "register_serializer",
    ),
    "shoal.api.session": ("SessionContext", "init", "is_initialized", "shutdown"),
    "shoal.api.state": ("available_resources", "cluster_resources", "explain", "nodes", "timeline"),
    "shoal.api.strategies": (
        "DoesNotExist",
        "Exists",
        "In",
        "NodeAffinitySchedulingStrategy",
        "NodeLabelSchedulingStrategy",
        "NotIn",
        "PlacementGroupSchedulingStrategy",
    ),
    "shoal.ids": ("ActorID", "JobID", "NodeID", "ObjectID", "PlacementGroupID", "TaskID", "WorkerID"),
    "shoal.interfaces.refs": ("DynamicObjectRefGenerator", "ObjectRef", "ObjectRefGenerator"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "exceptions":
        return import_module("shoal.exceptions")
    home = _HOME_OF.get(name)
    if home is None:
        if name.startswith("_"):  # what Python itself asks for
            raise AttributeError(f"module 'shoal' has no attribute {name!r}")
        library = globals()[name] = import_module("shoal.registry.libraries").load_library(name)
        return library
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
