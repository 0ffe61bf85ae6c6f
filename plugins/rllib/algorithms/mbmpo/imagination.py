"""Playing in models: what policies see there, and how much better than expected their actions were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from shoal.errors import ConfigError
from shoal.rllib.algorithms.mbmpo.adaptation import Paths, Weights, outputs_of
from shoal.rllib.modules.distributions import Normals
from shoal.rllib.modules.dynamics import DynamicsEnsemble
from shoal.rllib.sampling.advantages import generalised_advantages
from shoal.rllib.sampling.transitions import Actions

_BOUND = 1e3  # of observations in units of what was seen: models may run away


@torch.no_grad()  # type: ignore[untyped-decorator]
def play_in_models(
    model: DynamicsEnsemble,
    network: nn.Sequential,
    weights: Weights,
    begins: Any,
    horizon: int,
    *,
    reward: Callable[[Any, Any, Any], Any],
    actions: Actions,
    gamma: float,
    lambda_: float,
) -> tuple[Paths, float]:
    """Let each model's policy play in it from `begins` (models, trajectories, numbers); return what was seen, and the
    mean return. Raises ConfigError for a reward function that gives something else than a number a row.

    Example: `paths, mean = play_in_models(model, network, weights, begins, 25, reward=env.reward, actions=…)`
    """
    distribution = Normals(actions.size)
    models, count, size = begins.shape
    seen, parts = begins, []
    rewards = np.zeros((horizon, models * count), np.float32)
    for step in range(horizon):
        outputs = outputs_of(network, weights, seen)
        means, logs = outputs.chunk(2, -1)
        taken = means + logs.exp() * torch.randn_like(means)
        parts.append((seen, taken, outputs))
        within = taken.clamp(-1, 1)
        after = model(seen, within).clamp(
            model.input_mean[:size] - _BOUND * model.input_spread[:size],
            model.input_mean[:size] + _BOUND * model.input_spread[:size],
        )
        flat = within.flatten(0, 1).cpu().numpy()
        given = np.asarray(
            reward(
                seen.flatten(0, 1).cpu().numpy(),
                actions.to_space_rows(flat),
                after.flatten(0, 1).cpu().numpy(),
            )
        )
        if given.shape != (models * count,):
            raise ConfigError(
                f"reward(observations, actions, next_observations) gave the shape {given.shape} for {models * count} "
                "transitions: it must give a number for each"
            )
        rewards[step] = given
        seen = after
    observations, chosen, outputs = (torch.stack(each, 1) for each in zip(*parts, strict=True))
    advantages = np.stack(
        [
            _advantages(
                observations[place].cpu().numpy(),
                rewards.reshape(horizon, models, count)[:, place],
                gamma,
                lambda_,
            )
            for place in range(models)
        ]
    )
    chosen, outputs = chosen.flatten(1, 2), outputs.flatten(1, 2)
    paths = Paths(
        observations=observations.flatten(1, 2),
        actions=chosen,
        log_probabilities=distribution.log_probability(outputs, chosen),
        outputs=outputs,
        advantages=torch.as_tensor(advantages, device=chosen.device).flatten(1, 2),
    )
    return paths, float(rewards.sum(0).mean())


def _advantages(observations: Any, rewards: Any, gamma: float, lambda_: float) -> Any:
    """Return advantages (steps, trajectories) by a linear baseline of features (Duan et al., 2016), in units of their
    spread."""
    steps, count, _ = observations.shape
    returns = np.zeros_like(rewards)
    later = np.zeros(count, np.float32)
    for step in reversed(range(steps)):
        later = returns[step] = rewards[step] + gamma * later
    time = np.broadcast_to((np.arange(steps, dtype=np.float32) / steps)[:, None, None], (steps, count, 1))
    near = np.clip(observations, -10, 10)
    features = np.concatenate([near, near**2, time, time**2, time**3, np.ones_like(time)], -1)
    flat = features.reshape(steps * count, -1).astype(np.float64)
    square = flat.T @ flat + 1e-5 * len(flat) * np.eye(flat.shape[1])
    values = (flat @ np.linalg.solve(square, flat.T @ returns.reshape(-1))).reshape(steps, count)
    values = values.astype(np.float32)
    ended = np.zeros_like(rewards)
    ended[-1] = 1.0  # the horizon is the end of it
    following = np.concatenate([values[1:], np.zeros((1, count), np.float32)])
    made = generalised_advantages(rewards, values, following, ended, ended, gamma, lambda_)
    return ((made - made.mean()) / max(1e-4, float(made.std()))).astype(np.float32)
