"""The groups of plugins: where each kind registers, what it must be, and whether one or all are used."""

from __future__ import annotations

import enum
from typing import Any, Generic, TypeVar

import attrs

from shoal.errors import ConfigError
from shoal.interfaces.accelerator import Accelerator
from shoal.interfaces.companions import Companion
from shoal.interfaces.debugger import Debugger
from shoal.interfaces.engine import Engine
from shoal.interfaces.environment import EnvironmentStep
from shoal.interfaces.graphs import GraphLibrary
from shoal.interfaces.metadata import Metadata
from shoal.interfaces.nodes import NodeProvider
from shoal.interfaces.scaling import ScalingPolicy
from shoal.interfaces.scheduler import Scheduler
from shoal.interfaces.sharing import Sharing
from shoal.interfaces.store import ObjectStore

T = TypeVar("T")


class Picks(enum.Enum):
    """How many plugins of a group serve a session."""

    ONE = "one"  # a driver, chosen by a setting
    SOME = "some"  # those that a setting lists
    ALL = "all"  # every one that is installed


@attrs.frozen
class Group(Generic[T]):
    """One kind of plugin.

    `setting` is the name in Config that chooses; empty if nothing does. An `interface` of None means that any object
    will do: observers are judged by the hooks they implement.
    """

    name: str  # entry-point group
    noun: str  # what a person calls one of them
    interface: type[T] | None
    picks: Picks
    setting: str = ""


ENGINES: Group[Engine] = Group("shoal.engines", "engine", Engine, Picks.ONE, "engine")
SCHEDULERS: Group[Scheduler] = Group("shoal.schedulers", "scheduler", Scheduler, Picks.ONE, "scheduler")
SHARING: Group[Sharing] = Group("shoal.sharing", "sharing policy", Sharing, Picks.ONE, "sharing")
STORES: Group[ObjectStore] = Group("shoal.stores", "store", ObjectStore, Picks.ONE, "store")
METADATA: Group[Metadata] = Group("shoal.metadata", "metadata store", Metadata, Picks.ONE, "metadata")
ACCELERATORS: Group[Accelerator] = Group(
    "shoal.accelerators", "accelerator", Accelerator, Picks.SOME, "accelerators"
)
ENVIRONMENTS: Group[EnvironmentStep] = Group(
    "shoal.environments", "environment step", EnvironmentStep, Picks.ALL
)
GRAPHS: Group[GraphLibrary] = Group("shoal.graphs", "graph library", GraphLibrary, Picks.ALL)
LIBRARIES: Group[Any] = Group("shoal.libraries", "library", None, Picks.ALL)
DEBUGGERS: Group[Debugger] = Group("shoal.debuggers", "debugger", Debugger, Picks.ONE, "debugger")
# The file that describes a cluster chooses these, not a setting.
NODES: Group[NodeProvider] = Group("shoal.nodes", "node provider", NodeProvider, Picks.ALL)
SCALING: Group[ScalingPolicy] = Group("shoal.scaling", "scaling policy", ScalingPolicy, Picks.ALL)
COMPANIONS: Group[Companion] = Group("shoal.companions", "companion of the head", Companion, Picks.ALL)
COMMANDS: Group[Any] = Group("shoal.commands", "command", None, Picks.ALL)
CHECKS: Group[Any] = Group("shoal.checks", "check", None, Picks.ALL)
SERVICES: Group[Any] = Group("shoal.services", "web service", None, Picks.ALL)
ROUTES: Group[Any] = Group("shoal.routes", "routes", None, Picks.ALL)
TRAIN_BACKENDS: Group[Any] = Group("shoal.train.backends", "backend of training", None, Picks.ALL)
SERVE_LLM_ENGINES: Group[Any] = Group("shoal.serve.llm.engines", "engine of language models", None, Picks.ALL)
SERVE_ROUTERS: Group[Any] = Group("shoal.serve.routers", "router of requests", None, Picks.ALL)
SERVE_INGRESSES: Group[Any] = Group("shoal.serve.ingresses", "way of HTTP to replicas", None, Picks.ALL)
TUNE_SCHEDULERS: Group[Any] = Group("shoal.tune.schedulers", "scheduler of trials", None, Picks.ALL)
TUNE_TRAINABLES: Group[Any] = Group("shoal.tune.trainables", "trainable", None, Picks.ALL)
TUNE_SEARCHERS: Group[Any] = Group("shoal.tune.searchers", "searcher", None, Picks.ALL)
HOOKS: Group[Any] = Group("shoal.hooks", "observer", None, Picks.ALL)

GROUPS: tuple[Group[Any], ...] = (
    ENGINES,
    SCHEDULERS,
    SHARING,
    STORES,
    METADATA,
    ACCELERATORS,
    ENVIRONMENTS,
    GRAPHS,
    LIBRARIES,
    DEBUGGERS,
    NODES,
    SCALING,
    COMPANIONS,
    COMMANDS,
    CHECKS,
    SERVICES,
    ROUTES,
    TRAIN_BACKENDS,
    SERVE_LLM_ENGINES,
    SERVE_ROUTERS,
    SERVE_INGRESSES,
    TUNE_SCHEDULERS,
    TUNE_SEARCHERS,
    TUNE_TRAINABLES,
    HOOKS,
)


def group_named(name: str) -> Group[Any]:
    """Return the group with that entry-point name. Raises ConfigError naming those there are."""
    for group in GROUPS:
        if group.name == name:
            return group
    raise ConfigError(
        f"no plugin group is named {name!r}; there are {', '.join(each.name for each in GROUPS)}"
    )
