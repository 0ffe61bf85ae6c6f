"""An actor that plays environments with several agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import numpy as np

from shoal.rllib.environments import flat_observation
from shoal.rllib.modules.actor_critic import ArrayPolicy
from shoal.rllib.modules.distributions import Distribution, distribution_of
from shoal.rllib.multi_agent.environment import ALL, MultiAgentEnv
from shoal.rllib.sampling.advantages import generalised_advantages
from shoal.rllib.sampling.runner import Play, as_action


@attrs.frozen(kw_only=True)
class Together(Play):
    """How several agents are played: `mapping` names an agent's policy, `spaces` are the policies'."""

    mapping: Callable[..., str]
    spaces: Mapping[str, tuple[Any, Any]]


@attrs.define
class _Track:
    """What one agent has seen and done since its rows were given away last."""

    policy: str
    observations: list[Any] = attrs.field(factory=list)
    actions: list[Any] = attrs.field(factory=list)
    logs: list[float] = attrs.field(factory=list)
    inputs: list[Any] = attrs.field(factory=list)
    values: list[float] = attrs.field(factory=list)
    rewards: list[float] = attrs.field(factory=list)


_PARTS = ("observations", "actions", "logs", "inputs", "values", "rewards")


@attrs.define
class _Episode:
    """One environment's episode: who may act now, and what each agent has seen."""

    waiting: dict[Any, Any]  # flat observations of the agents that act next
    tracks: dict[Any, _Track] = attrs.field(factory=dict)
    total: float = 0.0
    length: int = 0


class MultiAgentRunner:
    """Plays on where it stopped, whenever it is asked for steps."""

    def __init__(self, play: Together, number: int) -> None:
        self._play = play
        made: Any = [play.make(play.config) for _ in range(play.count)]
        self._environments: list[MultiAgentEnv] = made
        self._random = np.random.default_rng(None if play.seed is None else (play.seed, number))
        self._distributions: dict[str, Distribution] = {
            name: distribution_of(actions) for name, (_, actions) in play.spaces.items()
        }
        self._episodes = [
            self._begin(env, None if play.seed is None else play.seed + 1000 * number + place)
            for place, env in enumerate(self._environments)
        ]

    def sample(self, arrays: Mapping[str, Any], steps: int) -> dict[str, Any]:
        """Play `steps` steps of each environment; return rows by policy, the steps and the episodes that ended.

        Raises ValueError for an environment that breaks its own rules, naming agent and step.
        """
        policies = {name: ArrayPolicy(each) for name, each in arrays.items()}
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in policies}
        ended: list[tuple[float, int]] = []
        for _ in range(steps):
            chosen = self._choose(policies)
            for place, env in enumerate(self._environments):
                self._step(place, env, chosen[place], policies, rows, ended)
        for episode in self._episodes:
            for agent, track in episode.tracks.items():
                if agent in episode.waiting:
                    self._give(track, self._value(policies, episode, agent, track.policy), rows)
                else:  # its last action may still be rewarded
                    self._give_all_but_last(track, rows)
        return {
            "policies": {
                name: {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
                for name, parts in rows.items()
                if parts
            },
            "steps": steps * self._play.count,
            "episodes": ended,
        }

    def _begin(self, env: MultiAgentEnv, seed: int | None = None) -> _Episode:
        return _Episode(
            {agent: self._flat(env, agent, seen) for agent, seen in env.reset(seed=seed)[0].items()}
        )

    def _flat(self, env: MultiAgentEnv, agent: Any, observation: Any) -> Any:
        return flat_observation(env.get_observation_space(agent), observation)

    def _choose(self, policies: Mapping[str, ArrayPolicy]) -> list[dict[Any, Any]]:
        """Let each policy act for all agents that it plays, of all environments at once."""
        asked: dict[str, list[tuple[int, Any, Any]]] = {}
        for place, episode in enumerate(self._episodes):
            for agent, seen in episode.waiting.items():
                track = episode.tracks.get(agent)
                if track is None:
                    track = episode.tracks[agent] = _Track(self._play.mapping(agent, None))
                asked.setdefault(track.policy, []).append((place, agent, seen))
        chosen: list[dict[Any, Any]] = [{} for _ in self._episodes]
        for name, each in asked.items():
            inputs, values = policies[name](np.stack([seen for _, _, seen in each]))
            actions, logs = self._distributions[name].sample(inputs, self._random)
            for row, (place, agent, seen) in enumerate(each):
                track = self._episodes[place].tracks[agent]
                track.observations.append(seen)
                track.actions.append(actions[row])
                track.logs.append(logs[row])
                track.inputs.append(inputs[row])
                track.values.append(values[row])
                track.rewards.append(0.0)
                chosen[place][agent] = as_action(
                    self._play.spaces[name][1], actions[row], self._play.clip_actions
                )
        return chosen

    def _step(
        self,
        place: int,
        env: MultiAgentEnv,
        actions: dict[Any, Any],
        policies: Mapping[str, ArrayPolicy],
        rows: dict[str, list[dict[str, Any]]],
        ended: list[tuple[float, int]],
    ) -> None:
        episode = self._episodes[place]
        seen, rewards, terminated, truncated, _ = env.step(actions)
        episode.length += 1
        for agent, reward in rewards.items():
            self._reward(episode, agent, float(reward), env)
        over = bool(terminated.get(ALL)) or bool(truncated.get(ALL))
        cut = bool(truncated.get(ALL)) and not terminated.get(ALL)
        episode.waiting = {agent: self._flat(env, agent, each) for agent, each in seen.items()}
        for agent in list(episode.tracks):
            dead = bool(terminated.get(agent)) or (over and not cut and not truncated.get(agent))
            if dead or over or truncated.get(agent):
                track = episode.tracks.pop(agent)
                after = 0.0 if dead else self._value(policies, episode, agent, track.policy)
                self._give(track, after, rows)
                episode.waiting.pop(agent, None)
        if over:
            ended.append((episode.total, episode.length))
            self._episodes[place] = self._begin(env)
        elif not episode.waiting:
            raise ValueError(
                f"step {episode.length} of an episode of {env} gave no observation and no end: nobody could act"
            )

    def _reward(self, episode: _Episode, agent: Any, reward: float, env: MultiAgentEnv) -> None:
        if not np.isfinite(reward):
            raise ValueError(
                f"step {episode.length} of an episode of {env} gave agent {agent!r} the reward {reward}: "
                "it must be a number"
            )
        episode.total += reward
        track = episode.tracks.get(agent)
        if track is not None and track.rewards:
            bound = self._play.clip_rewards
            track.rewards[-1] += reward if bound is None else max(-bound, min(bound, reward))

    def _value(self, policies: Mapping[str, ArrayPolicy], episode: _Episode, agent: Any, name: str) -> float:
        """What is to be expected after an agent's last action: of what it sees now; nothing if it sees nothing."""
        if agent not in episode.waiting:
            return 0.0
        return float(policies[name](episode.waiting[agent][None])[1][0])

    def _give_all_but_last(self, track: _Track, rows: dict[str, list[dict[str, Any]]]) -> None:
        kept = {name: getattr(track, name)[-1:] for name in _PARTS}
        if not track.observations:
            return
        for name in _PARTS:
            getattr(track, name).pop()
        self._give(track, float(kept["values"][0]), rows)
        for name, values in kept.items():
            getattr(track, name).extend(values)

    def _give(self, track: _Track, after: float, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Make rows of what an agent has seen, and begin anew."""
        if not track.observations:
            return
        values = np.asarray(track.values, np.float32)[:, None]
        following = np.append(values[1:], np.float32(after)).astype(np.float32)[:, None]
        nothing = np.zeros_like(values)
        advantages = generalised_advantages(
            np.asarray(track.rewards, np.float32)[:, None],
            values,
            following,
            nothing,
            nothing,
            self._play.gamma,
            self._play.lambda_,
        )
        rows[track.policy].append(
            {
                "observations": np.stack(track.observations),
                "actions": np.stack(track.actions),
                "log_probabilities": np.asarray(track.logs, np.float32),
                "inputs": np.stack(track.inputs).astype(np.float32),
                "values": values[:, 0],
                "advantages": advantages[:, 0],
            }
        )
        for name in _PARTS:
            getattr(track, name).clear()
