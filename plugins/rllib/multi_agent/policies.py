"""Which policies there are, and which agents each of them plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import gymnasium

from shoal.errors import ConfigError, describe
from shoal.rllib.multi_agent.environment import MultiAgentEnv


@attrs.frozen
class PolicySpec:
    """A policy: the spaces that it is for. None: those of the agents that it plays.

    Example: `config.multi_agent(policies={"runner": PolicySpec(), "hider": PolicySpec(action_space=space)})`
    """

    observation_space: gymnasium.Space[Any] | None = None
    action_space: gymnasium.Space[Any] | None = None


def specs_of(given: Any) -> dict[str, PolicySpec]:
    """Return policies by name, of what `multi_agent(policies=…)` may be: names, or specifications by name.

    Raises ConfigError for anything else.

    Example: `specs_of({"a", "b"})`
    """
    if isinstance(given, Mapping):
        found = dict(given)
    elif isinstance(given, (set, frozenset, list, tuple)):
        found = {name: PolicySpec() for name in sorted(given)}
    else:
        raise ConfigError(f"policies must be names, or PolicySpecs by name, not {describe(given)}")
    for name, spec in found.items():
        if not isinstance(name, str) or not isinstance(spec, PolicySpec):
            raise ConfigError(
                f"policies has {describe(name)}: {describe(spec)}; it must be a name: PolicySpec()"
            )
    if not found:
        raise ConfigError("policies is empty: name at least one")
    return found


def spaces_of(
    env: MultiAgentEnv, specs: Mapping[str, PolicySpec], mapping: Callable[..., str]
) -> dict[str, tuple[gymnasium.Space[Any], gymnasium.Space[Any]]]:
    """Return the spaces of observations and actions of each policy.

    Raises ConfigError for a mapping that names no policy, policies whose agents differ, and policies that nobody plays
    and whose spaces are not told.

    Example: `spaces_of(env, {"shared": PolicySpec()}, lambda agent, episode, **more: "shared")`
    """
    found: dict[str, tuple[Any, Any]] = {
        name: (spec.observation_space, spec.action_space)
        for name, spec in specs.items()
        if spec.observation_space is not None and spec.action_space is not None
    }
    for agent in env.possible_agents:
        name = mapping(agent, None)
        if name not in specs:
            raise ConfigError(
                f"policy_mapping_fn gives agent {agent!r} the policy {name!r}; there are {', '.join(specs)}"
            )
        theirs = env.get_observation_space(agent), env.get_action_space(agent)
        if found.setdefault(name, theirs) != theirs:
            raise ConfigError(
                f"policy {name!r} plays agents with different spaces; {agent!r} has {theirs[0]} and {theirs[1]}"
            )
    missing = [name for name in specs if name not in found]
    if missing:
        raise ConfigError(
            f"no agent is played by {', '.join(missing)}: give PolicySpec(observation_space, action_space), "
            "or leave it out"
        )
    return found
