"""An actor that plays environments whose agents act at once, and keeps their steps together."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from shoal.rllib.multi_agent.environment import ALL
from shoal.rllib.multi_agent.team import Team
from shoal.rllib.sampling.runner import Play


@attrs.frozen(kw_only=True)
class TeamPlay(Play):
    """How teams are played; a row is of up to `length` steps of an episode, one after the other."""

    length: int = 1


@attrs.define
class _Episode:
    """One environment's episode, and what of it was not given away yet."""

    seen: Any  # observations by agent, as the environment gave them
    memory: Any
    observations: list[Any]
    states: list[Any]
    masks: list[Any]
    first: Any  # the memory that the row began with
    actions: list[Any] = attrs.field(factory=list)
    rewards: list[Any] = attrs.field(factory=list)
    terminated: list[Any] = attrs.field(factory=list)
    total: float = 0.0
    steps: int = 0


class TeamRunner:
    """Plays on where it stopped, whenever it is asked for steps."""

    def __init__(self, play: TeamPlay, number: int) -> None:
        self._play = play
        self._environments: list[Any] = [play.make(play.config) for _ in range(play.count)]
        self._team = Team(self._environments[0])
        self._random = np.random.default_rng(None if play.seed is None else (play.seed, number))
        self._number = number
        self._episodes: list[_Episode] = []

    def sample(self, policy: Any, steps: int) -> dict[str, Any]:
        """Play `steps` steps of each environment by `policy.actions`.

        Return `rows` that are complete by now (None, or columns by row, step and agent; `observations`, `states` and
        `masks` are of one step more, and `filled` is 0 for steps after an end), the number of `steps`, and the
        `episodes` that ended. Raises ValueError for an environment that breaks the rules, naming agent and step.
        """
        if not self._episodes:
            self._begin_all(policy)
        rows: list[dict[str, Any]] = []
        ended: list[tuple[float, int]] = []
        for _ in range(steps):
            chosen, memories = policy.actions(
                np.stack([each.observations[-1] for each in self._episodes]),
                np.stack([each.masks[-1] for each in self._episodes]),
                np.stack([each.memory for each in self._episodes]),
                self._random,
            )
            for place, env in enumerate(self._environments):
                self._episodes[place].memory = memories[place]
                self._step(place, env, chosen[place], policy, rows, ended)
        columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else None
        return {"rows": columns, "steps": steps * self._play.count, "episodes": ended}

    def _begin_all(self, policy: Any) -> None:
        seed = self._play.seed
        for place, env in enumerate(self._environments):
            first = None if seed is None else seed + 1000 * self._number + place
            self._episodes.append(self._begin(env, policy, first))

    def _begin(self, env: Any, policy: Any, seed: int | None = None) -> _Episode:
        seen = env.reset(seed=seed)[0]
        observations, state, masks = self._team.look(seen)
        nothing = np.zeros((len(self._team.agents), policy.memory), np.float32)
        return _Episode(seen, nothing, [observations], [state], [masks], nothing)

    def _step(
        self, place: int, env: Any, chosen: Any, policy: Any, rows: list[Any], ended: list[tuple[float, int]]
    ) -> None:
        episode, team, play = self._episodes[place], self._team, self._play
        seen, given, terminated, truncated, _ = env.step(team.act(chosen, episode.seen))
        episode.steps += 1
        rewards = np.array([given.get(agent, 0.0) for agent in team.agents], np.float32)
        over = bool(terminated.get(ALL)) or bool(truncated.get(ALL))
        cut = over and not terminated.get(ALL)
        dead = np.array(
            [bool(terminated.get(agent)) or (over and not cut) for agent in team.agents], np.float32
        )
        observations, state, masks = team.look(seen)
        self._refuse_wrong(episode, env, rewards, observations)
        missing = [
            agent
            for agent in team.agents
            if agent not in seen and not over and not terminated.get(agent) and agent in episode.seen
        ]
        if missing and not all(truncated.get(agent) for agent in missing):
            raise ValueError(
                f"step {episode.steps} of an episode of {env} gave agent {missing[0]!r} no observation and no end: "
                "agents of a team act at once"
            )
        episode.total += float(rewards.sum())
        if play.clip_rewards is not None:
            rewards = rewards.clip(-play.clip_rewards, play.clip_rewards)
        episode.actions.append(np.asarray(chosen, np.float32))
        episode.rewards.append(rewards)
        episode.terminated.append(dead)
        episode.observations.append(observations)
        episode.states.append(state)
        episode.masks.append(masks)
        episode.seen = seen
        if over or len(episode.actions) == play.length:
            rows.append(self._row(episode))
        if over:
            ended.append((episode.total, episode.steps))
            self._episodes[place] = self._begin(env, policy)

    def _row(self, episode: _Episode) -> dict[str, Any]:
        """Make a row of what is kept, filled up with zeros, and go on from its last observation."""
        length = self._play.length
        filled = np.zeros(length, np.float32)
        filled[: len(episode.actions)] = 1.0
        made = {
            "observations": _padded(episode.observations, length + 1),
            "states": _padded(episode.states, length + 1),
            "masks": _padded(episode.masks, length + 1),
            "actions": _padded(episode.actions, length),
            "rewards": _padded(episode.rewards, length),
            "terminated": _padded(episode.terminated, length),
            "memory": episode.first,
            "filled": filled,
        }
        for kept in (episode.observations, episode.states, episode.masks):
            del kept[:-1]
        for given in (episode.actions, episode.rewards, episode.terminated):
            given.clear()
        episode.first = episode.memory
        return made

    def _refuse_wrong(self, episode: _Episode, env: Any, rewards: Any, observations: Any) -> None:
        where = f"step {episode.steps} of an episode of {env} gave"
        for agent, reward in zip(self._team.agents, rewards, strict=True):
            if not np.isfinite(reward):
                raise ValueError(f"{where} agent {agent!r} the reward {reward}: it must be a finite number")
        if not np.isfinite(observations).all():
            raise ValueError(f"{where} observations that are not finite: {observations}")


def _padded(given: list[Any], length: int) -> Any:
    made = np.zeros((length, *given[0].shape), np.float32)
    made[: len(given)] = given
    return made
