"""Rewards of several steps put together."""

from __future__ import annotations

from collections import deque
from typing import Any


class NStep:
    """Makes transitions over up to `steps` steps of one environment's steps.

    A transition is (observation, action, rewards discounted and summed, last observation, discount of what follows).
    The discount is 0 where the episode terminated; where it was cut short by a limit of time it is not, since the last
    observation still had a value (Pardo et al., 2018).

    Example: `NStep(3, 0.99).add(observation, action, 1.0, after, terminated=False, truncated=False)`
    """

    def __init__(self, steps: int, gamma: float) -> None:
        self._steps, self._gamma = steps, gamma
        self._window: deque[tuple[Any, Any, float]] = deque()

    def add(
        self, observation: Any, action: Any, reward: float, after: Any, *, terminated: bool, truncated: bool
    ) -> list[tuple[Any, Any, float, Any, float]]:
        """Add one step; return the transitions that are complete with it, oldest first."""
        window = self._window
        if self._steps == 1:
            return [(observation, action, reward, after, 0.0 if terminated else self._gamma)]
        window.append((observation, action, reward))
        made = []
        ended = terminated or truncated
        while window and (ended or len(window) == self._steps):
            made.append(self._whole(after, terminated))
            window.popleft()
            if not ended:
                break
        return made

    def _whole(self, after: Any, terminated: bool) -> tuple[Any, Any, float, Any, float]:
        total, weight = 0.0, 1.0
        for _, _, reward in self._window:
            total += weight * reward
            weight *= self._gamma
        observation, action, _ = self._window[0]
        return observation, action, total, after, 0.0 if terminated else weight
