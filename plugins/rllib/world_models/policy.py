"""What acts by a world model: it remembers the model's state."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


class WorldPolicy:
    """Acts by the state that a model has of what was seen; `uniform` draws any action.

    `model` has `encoder`, `space` and `actor`; `head` makes actions of what the actor gives. `noise` is the spread of
    normal noise on real actions between -1 and 1.

    Example: `actions, memory = policy.actions(observations, first, memory, random)`
    """

    def __init__(self, model: Any, head: Any, uniform: bool = False, noise: float = 0.0) -> None:
        self._model, self._head, self._uniform, self._noise = model, head, uniform, noise

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def actions(
        self, observations: Any, first: Any, memory: Any, random: np.random.Generator, explore: bool = True
    ) -> tuple[Any, Any]:
        """Return actions, a row each, choices as ones and zeros; and what is remembered (None before anything is).

        `first` is 1 where an episode begins.
        """
        rows = len(observations)
        if self._uniform and explore:
            return self._head.any(rows, random), None
        model = self._model
        if memory is None:
            memory = model.space.begin(rows), torch.zeros(rows, self._head.size)
            first = np.ones_like(first)
        embedded = model.encoder(model.scaled(torch.as_tensor(observations)))
        state, _ = model.space.see(*memory, embedded, torch.as_tensor(first))
        outputs = model.actor(state)
        made = (self._head.sample(outputs) if explore else self._head.best(outputs)).numpy()
        if explore and self._noise:
            made = (made + self._noise * random.standard_normal(made.shape)).clip(-1, 1).astype(np.float32)
        return made, (state, torch.as_tensor(made))
