"""What a distribution of actions can do, whatever it is computed with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import gymnasium


class Distribution(ABC):
    """A distribution of actions, one for each row of a batch. Modules give what it is made of: `from_logits`.

    Example: `TorchCategorical.from_logits(logits).sample()`
    """

    @abstractmethod
    def sample(self, *, sample_shape: tuple[int, ...] | None = None, **more: Any) -> Any:
        """Draw actions; gradients do not go through them. `sample_shape` is put before the batch's."""

    @abstractmethod
    def rsample(self, *, sample_shape: tuple[int, ...] | None = None, **more: Any) -> Any:
        """Draw actions that gradients go through (Kingma and Welling, 2014)."""

    @abstractmethod
    def logp(self, value: Any, **more: Any) -> Any:
        """Return the logarithms of actions' probabilities or densities."""

    @abstractmethod
    def kl(self, other: Any, **more: Any) -> Any:
        """Return Kullback and Leibler's divergence from this distribution to another of its kind."""

    @abstractmethod
    def entropy(self, **more: Any) -> Any:
        """Return the entropies."""

    @staticmethod
    @abstractmethod
    def required_input_dim(space: gymnasium.Space[Any], **more: Any) -> int:
        """Return how many outputs a module must have for a space of actions."""

    @classmethod
    @abstractmethod
    def from_logits(cls, logits: Any, **more: Any) -> Any:
        """Return the distribution of a module's outputs."""

    @classmethod
    def get_partial_dist_cls(parent_cls, **partial_kwargs: Any) -> type[Distribution]:  # noqa: N804
        """Return a class like this one whose `from_logits` and `required_input_dim` get some keywords always.

        Example: `TorchSquashedGaussian.get_partial_dist_cls(low=-2.0, high=2.0)`
        """

        def merged(given: dict[str, Any]) -> dict[str, Any]:
            twice = sorted(set(given) & set(partial_kwargs))
            if twice:
                raise ValueError(f"{', '.join(twice)} were given already, by get_partial_dist_cls")
            return {**partial_kwargs, **given}

        class Partial(parent_cls):  # type: ignore[misc, valid-type]
            """The class with these keywords."""

            @staticmethod
            def required_input_dim(space: gymnasium.Space[Any], **more: Any) -> int:
                return parent_cls.required_input_dim(space, **merged(more))

            @classmethod
            def from_logits(cls, logits: Any, **more: Any) -> Any:
                return parent_cls.from_logits(logits, **merged(more))

        Partial.__name__ = Partial.__qualname__ = f"{parent_cls.__name__}Partial"
        return Partial

    def to_deterministic(self) -> Any:
        """Return the distribution that has the most likely action only. Raises TypeError where there is none."""
        raise TypeError(f"{type(self).__name__} tells no most likely action")
