"""Numbers of any size as networks predict them: on a scale of signed logarithms, as weights of places on it."""

from __future__ import annotations

from typing import Any

import torch

from shoal.rllib.tensors.torch_tensors import inverse_symlog, symlog


class TwoHot:
    """Distributions over `bins` places from `low` to `high` on the scale of `symlog` (equations 7 to 9).

    Example: `TwoHot().mean(torch.zeros(8, 255))  # zeros`
    """

    def __init__(self, bins: int = 255, low: float = -20.0, high: float = 20.0) -> None:
        self.bins, self._low, self._high = bins, low, high

    def encoded(self, values: Any) -> Any:
        """Return weights of the two places beside each value, (…, bins)."""
        place = self._place(values).unsqueeze(-1)
        return (1 - (place - torch.arange(self.bins, device=place.device)).abs()).clamp(min=0)

    def mean(self, logits: Any) -> Any:
        """Return the values that logits (…, bins) stand for."""
        places = torch.linspace(self._low, self._high, self.bins, device=logits.device)
        return inverse_symlog((torch.softmax(logits, -1) * places).sum(-1))

    def loss(self, logits: Any, values: Any) -> Any:
        """Return the cross-entropy of each value."""
        # All but two weights are nothing: only what those two need is computed.
        place = self._place(values)
        below = place.floor().clamp(max=self.bins - 2)
        pair = torch.stack([below, below + 1], -1).long()
        low, high = logits.gather(-1, pair).unbind(-1)
        return logits.logsumexp(-1) - torch.lerp(low, high, place - below)

    def _place(self, values: Any) -> Any:
        """Return where values are on the scale, counted in bins."""
        gap = (self._high - self._low) / (self.bins - 1)
        return (symlog(values).clamp(self._low, self._high) - self._low) / gap
