"""Self-play with a league: a policy learns to play Nim against those that it was before.

python examples/rllib_league.py [GENERATIONS]

Two players take one to three stones by turns; who takes the last one wins. The best play leaves the other a multiple of
four. The policy `main` learns; its opponents are copies of itself that do not, drawn anew for each game. Whenever it
beats its league often enough, it joins it in the place of the oldest copy.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.algorithms.ppo import PPOConfig
from shoal.rllib.multi_agent import MultiAgentEnv, PolicySpec

MOST = 15  # stones of a game
SEEN, TAKEN = gymnasium.spaces.Box(0, 1, (MOST,), np.float32), gymnasium.spaces.Discrete(3)
LEAGUE = ["before_1", "before_2", "before_3"]
ENOUGH = 0.6  # of games won, to join the league


class Nim(MultiAgentEnv):
    """A player sees how many stones there are; who begins is drawn."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.possible_agents = ["player", "opponent"]
        self.observation_space, self.action_space = SEEN, TAKEN

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        gymnasium.Env.reset(self, seed=seed)
        self.stones = int(self.np_random.integers(5, MOST + 1))
        self.turn = int(self.np_random.integers(2))
        return {self.possible_agents[self.turn]: seen(self.stones)}, {}

    def step(self, action: Mapping[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        [(agent, taken)] = action.items()
        self.stones -= min(self.stones, taken + 1)
        self.turn = 1 - self.turn
        other = self.possible_agents[self.turn]
        over = self.stones == 0
        rewards = {agent: 1.0, other: -1.0} if over else {}
        return {other: seen(self.stones)}, rewards, {"__all__": over}, {"__all__": False}, {}


def seen(stones: int) -> Any:
    """Return what a player sees."""
    return np.eye(MOST + 1, dtype=np.float32)[stones][1:]


def drawn(agent: str, *_: Any, **__: Any) -> str:
    """Return the policy that plays an agent, for one game."""
    return "main" if agent == "player" else random.choice(LEAGUE)


def won(algorithm: Any, games: int = 200) -> float:
    """Return the part of games that `main` wins against the league."""
    env, wins = Nim({}), 0
    for number in range(games):
        waiting, _ = env.reset(seed=number)
        policies, over, rewards = {"player": "main", "opponent": drawn("opponent")}, False, {}
        while not over:
            [(agent, stones)] = waiting.items()
            action = algorithm.compute_single_action(stones, policy_id=policies[agent])
            waiting, rewards, ended, _, _ = env.step({agent: action})
            over = ended["__all__"]
        wins += rewards["player"] > 0
    return wins / games


def right_moves(algorithm: Any) -> float:
    """Return how often `main` leaves a multiple of four, where that can be done."""
    places = [stones for stones in range(1, MOST + 1) if stones % 4]
    moves = [
        algorithm.compute_single_action(seen(each), explore=False, policy_id="main") + 1 for each in places
    ]
    return float(np.mean([move == each % 4 for move, each in zip(moves, places, strict=True)]))


def main(generations: int = 30) -> float:
    """Let it learn; return how many of its moves are right."""
    random.seed(1)
    config = (
        PPOConfig()
        .environment(Nim)
        .env_runners(num_envs_per_env_runner=8)
        .multi_agent(
            policies={"main": PolicySpec(), **{name: PolicySpec(SEEN, TAKEN) for name in LEAGUE}},
            policy_mapping_fn=drawn,
            policies_to_train=["main"],
        )
        .training(
            lr=3e-3,
            train_batch_size=1500,
            minibatch_size=250,
            num_epochs=6,
            entropy_coeff=0.02,
            lambda_=0.95,
            gamma=1.0,
            model={"fcnet_hiddens": [64]},
        )
        .debugging(seed=1)
    )
    algorithm = config.build()
    joined = 0
    for generation in range(generations):
        algorithm.train()
        share = won(algorithm)
        if share > ENOUGH:
            oldest = LEAGUE[joined % len(LEAGUE)]
            algorithm.module[oldest].load_state_dict(algorithm.module["main"].state_dict())
            joined += 1
        print(f"{generation}: won {share:.0%}, {joined} joined, right moves {right_moves(algorithm):.0%}")
    algorithm.stop()
    return right_moves(algorithm)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
