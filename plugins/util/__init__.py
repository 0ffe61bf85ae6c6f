"""What programs share on top of tasks and actors: pools, queues, metrics, iterators, and looking at a session.

Written on the public API alone, so each part is an example too. Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal import (
        deregister_serializer,
        get_current_placement_group,
        get_placement_group,
        inspect_serializability,
        list_named_actors,
        placement_group,
        placement_group_table,
        register_serializer,
        remove_placement_group,
    )
    from shoal.util import accelerators, iter, queue  # noqa: A004
    from shoal.util.actor_pool import ActorPool
    from shoal.util.completion import as_completed, map_unordered
    from shoal.util.logging_once import disable_log_once_globally, enable_periodic_logging, log_once
    from shoal.util.nodes import get_node_instance_id, get_node_ip_address

__all__ = [
    "ActorPool",
    "accelerators",
    "as_completed",
    "deregister_serializer",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "iter",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "queue",
    "register_serializer",
    "remove_placement_group",
]

_HOMES = {
    "shoal": (
        "deregister_serializer",
        "get_current_placement_group",
        "get_placement_group",
        "inspect_serializability",
        "list_named_actors",
        "placement_group",
        "placement_group_table",
        "register_serializer",
        "remove_placement_group",
    ),
    "shoal.util.actor_pool": ("ActorPool",),
    "shoal.util.completion": ("as_completed", "map_unordered"),
    "shoal.util.logging_once": ("disable_log_once_globally", "enable_periodic_logging", "log_once"),
    "shoal.util.nodes": ("get_node_instance_id", "get_node_ip_address"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("accelerators", "iter", "queue")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"shoal.util.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'shoal.util' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
