"""Distributions of actions in torch: choices, real numbers, bounded ones, fixed values, and several together."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import optree
import torch

from shoal.errors import ConfigError, describe
from shoal.rllib.core.distribution.distribution import Distribution


class TorchDistribution(Distribution, ABC):
    """A distribution that one of torch's does the work of. Subclasses make it: `_get_torch_distribution`.

    Example: `TorchCategorical(logits=torch.zeros(1, 3)).entropy()`
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._dist = self._get_torch_distribution(*args, **kwargs)

    def _get_torch_distribution(self, *args: Any, **kwargs: Any) -> Any:
        """Return torch's distribution of what the constructor was given."""
        raise NotImplementedError(f"{type(self).__name__} has no method _get_torch_distribution")

    def logp(self, value: Any, **more: Any) -> Any:
        """Return the logarithms of actions' probabilities."""
        return self._dist.log_prob(value)

    def entropy(self) -> Any:  # type: ignore[override]  # the reference's takes nothing here
        """Return the entropies."""
        return self._dist.entropy()

    def kl(self, other: Distribution) -> Any:  # type: ignore[override]
        """Return the divergence from this distribution to another."""
        return torch.distributions.kl.kl_divergence(self._dist, other._dist)  # type: ignore[attr-defined]

    def sample(self, *, sample_shape: Sequence[int] | None = None) -> Any:  # type: ignore[override]
        """Draw actions."""
        return self._dist.sample(torch.Size(sample_shape or ()))

    def rsample(self, *, sample_shape: Sequence[int] | None = None) -> Any:  # type: ignore[override]
        """Draw actions that gradients go through."""
        return self._dist.rsample(torch.Size(sample_shape or ()))

    def sample_and_logp(self, *, sample_shape: Sequence[int] | None = None) -> tuple[Any, Any]:
        """Draw actions; return them and the logarithms of their probabilities."""
        drawn = self.sample(sample_shape=sample_shape)
        return drawn, self.logp(drawn)

    def rsample_and_logp(self, *, sample_shape: Sequence[int] | None = None) -> tuple[Any, Any]:
        """Draw actions that gradients go through; return them and the logarithms of their probabilities."""
        drawn = self.rsample(sample_shape=sample_shape)
        return drawn, self.logp(drawn)


class TorchCategorical(TorchDistribution):
    """One of several choices, by their logits or probabilities in the last dimension; give one of the two.

    Example: `TorchCategorical(logits=torch.zeros(1, 3)).sample()`
    """

    def __init__(self, logits: Any = None, probs: Any = None) -> None:
        if (logits is None) == (probs is None):
            raise ValueError("give either logits or probs")
        super().__init__(logits=logits, probs=probs)
        self.logits, self.probs = self._dist.logits, self._dist.probs

    def _get_torch_distribution(self, logits: Any, probs: Any) -> Any:
        return torch.distributions.Categorical(logits=logits, probs=probs, validate_args=False)

    def rsample(self, *, sample_shape: Sequence[int] | None = None) -> Any:  # type: ignore[override]
        """Draw choices as rows of zeros with a one; gradients go through the probabilities (Bengio et al., 2013)."""
        shape = torch.Size(sample_shape or ())
        one_hot = torch.distributions.OneHotCategorical(probs=self.probs, validate_args=False).sample(shape)
        return (one_hot - self.probs).detach() + self.probs

    @staticmethod
    def required_input_dim(space: gymnasium.Space[Any], **more: Any) -> int:
        """Return how many choices there are."""
        if not isinstance(space, gymnasium.spaces.Discrete):
            raise ConfigError(f"TorchCategorical is for Discrete, not for {space}")
        return int(space.n)

    @classmethod
    def from_logits(cls, logits: Any, **more: Any) -> TorchCategorical:
        """Return the distribution of logits."""
        return cls(logits=logits, **more)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the choices of the greatest logits."""
        return TorchDeterministic(loc=self.logits.argmax(-1))


class TorchDiagGaussian(TorchDistribution):
    """Real numbers, each normal by itself, with means `loc` and spreads `scale`.

    Example: `TorchDiagGaussian(loc=torch.zeros(1, 2), scale=torch.ones(1, 2)).sample()`
    """

    def __init__(self, loc: Any, scale: Any = None) -> None:
        self.loc, self.scale = loc, scale
        super().__init__(loc=loc, scale=scale)

    def _get_torch_distribution(self, loc: Any, scale: Any) -> Any:
        return torch.distributions.Normal(loc, scale, validate_args=False)

    def logp(self, value: Any) -> Any:  # type: ignore[override]
        """Return the logarithms of the densities of whole actions."""
        return self._dist.log_prob(value).sum(-1)

    def entropy(self) -> Any:  # type: ignore[override]
        """Return the entropies of whole actions."""
        return self._dist.entropy().sum(-1)

    def kl(self, other: Distribution) -> Any:  # type: ignore[override]
        """Return the divergence from this distribution to another."""
        return super().kl(other).sum(-1)

    @staticmethod
    def required_input_dim(space: gymnasium.Space[Any], **more: Any) -> int:
        """Return two for each number of an action: its mean and the logarithm of its spread."""
        if not isinstance(space, gymnasium.spaces.Box):
            raise ConfigError(f"a normal distribution is for Box, not for {space}")
        return 2 * math.prod(space.shape)

    @classmethod
    def from_logits(cls, logits: Any, **more: Any) -> Any:
        """Return the distribution of means, and as other half of outputs logarithms of spreads."""
        loc, log_scale = logits.chunk(2, dim=-1)
        return cls(loc=loc, scale=log_scale.exp(), **more)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the means."""
        return TorchDeterministic(loc=self.loc)


class TorchSquashedGaussian(TorchDistribution):
    """Real numbers between `low` and `high`: hyperbolic tangents of normal ones (Haarnoja et al., 2018, appendix C).

    Example: `TorchSquashedGaussian(loc=torch.zeros(1, 2), scale=torch.ones(1, 2), low=-2.0, high=2.0).sample()`
    """

    def __init__(self, loc: Any, scale: Any, low: float = -1.0, high: float = 1.0) -> None:
        self.loc, self.low, self.high = loc, low, high
        super().__init__(loc=loc, scale=scale)

    def _get_torch_distribution(self, loc: Any, scale: Any) -> Any:
        return torch.distributions.Normal(loc, scale, validate_args=False)

    def sample(self, *, sample_shape: Sequence[int] | None = None) -> Any:  # type: ignore[override]
        """Draw numbers between the bounds."""
        return self._squash(super().sample(sample_shape=sample_shape))

    def rsample(self, *, sample_shape: Sequence[int] | None = None) -> Any:  # type: ignore[override]
        """Draw numbers between the bounds that gradients go through."""
        return self._squash(super().rsample(sample_shape=sample_shape))

    def logp(self, value: Any, **more: Any) -> Any:
        """Return the logarithms of the densities of whole actions."""
        unit = ((value - self.low) / (self.high - self.low) * 2.0 - 1.0).clamp(-1 + 1e-6, 1 - 1e-6)
        steepness = torch.log((1 - unit**2) * (self.high - self.low) / 2.0)
        return (self._dist.log_prob(torch.atanh(unit)) - steepness).sum(-1)

    def entropy(self) -> Any:  # type: ignore[override]
        """Raise TypeError: there is no closed form; take the mean of `-logp` of what is drawn."""
        raise TypeError("the entropy of TorchSquashedGaussian has no closed form: take the mean of -logp")

    def kl(self, other: Distribution) -> Any:  # type: ignore[override]
        """Return the divergence, which is that of the normal distributions if both have the same bounds."""
        if not isinstance(other, TorchSquashedGaussian) or (other.low, other.high) != (self.low, self.high):
            raise ValueError("the other distribution must be squashed to the same bounds")
        return super().kl(other).sum(-1)

    @staticmethod
    def required_input_dim(space: gymnasium.Space[Any], **more: Any) -> int:
        """Return two for each number of an action."""
        return TorchDiagGaussian.required_input_dim(space)

    @classmethod
    def from_logits(
        cls, logits: Any, low: float = -1.0, high: float = 1.0, **more: Any
    ) -> TorchSquashedGaussian:
        """Return the distribution of means and, as other half of outputs, logarithms of spreads (-20 to 2)."""
        loc, log_scale = logits.chunk(2, dim=-1)
        return cls(loc=loc, scale=log_scale.clamp(-20.0, 2.0).exp(), low=low, high=high, **more)

    def to_deterministic(self) -> TorchDeterministic:
        """Return where the means come to lie."""
        return TorchDeterministic(loc=self._squash(self.loc))

    def _squash(self, values: Any) -> Any:
        return (torch.tanh(values) + 1.0) / 2.0 * (self.high - self.low) + self.low


class TorchDeterministic(Distribution):
    """Always the same actions: `loc`.

    Example: `TorchDeterministic(loc=torch.zeros(1, 2)).sample()`
    """

    def __init__(self, loc: Any) -> None:
        self.loc = loc

    def sample(self, *, sample_shape: Sequence[int] | None = None, **more: Any) -> Any:
        """Return the actions."""
        return self.loc.detach().expand(*(sample_shape or ()), *self.loc.shape)

    def rsample(self, *, sample_shape: Sequence[int] | None = None, **more: Any) -> Any:
        """Return the actions, which gradients go through."""
        return self.loc.expand(*(sample_shape or ()), *self.loc.shape)

    def logp(self, value: Any, **more: Any) -> Any:
        """Return zeros: an action that is certain has the probability 1."""
        rows = value if value.dim() == self.loc.dim() else value.unsqueeze(-1)
        return torch.zeros(rows.shape[:1] if rows.dim() else (), device=self.loc.device)

    def entropy(self, **more: Any) -> Any:
        """Return zeros."""
        return torch.zeros(self.loc.shape[:1], device=self.loc.device)

    def kl(self, other: Any, **more: Any) -> Any:
        """Raise TypeError: there is none."""
        raise TypeError("there is no divergence of distributions with one value")

    @staticmethod
    def required_input_dim(space: gymnasium.Space[Any], **more: Any) -> int:
        """Return one for each number of an action."""
        if not isinstance(space, gymnasium.spaces.Box):
            raise ConfigError(f"TorchDeterministic is for Box, not for {space}")
        return math.prod(space.shape)

    @classmethod
    def from_logits(cls, logits: Any, **more: Any) -> TorchDeterministic:
        """Return the outputs themselves."""
        return cls(loc=logits)

    def to_deterministic(self) -> TorchDeterministic:
        """Return this distribution."""
        return self


class TorchMultiCategorical(Distribution):
    """Several choices beside each other: one distribution for each.

    Example: `TorchMultiCategorical.from_logits(torch.zeros(1, 5), input_lens=[2, 3]).sample()`
    """

    def __init__(self, categoricals: Sequence[TorchCategorical]) -> None:
        self._cats = list(categoricals)

    def sample(self, *, sample_shape: Sequence[int] | None = None, **more: Any) -> Any:
        """Draw choices, in the last dimension."""
        return torch.stack([each.sample(sample_shape=sample_shape) for each in self._cats], dim=-1)

    def rsample(self, sample_shape: Sequence[int] | None = None, **more: Any) -> Any:
        """Draw choices as rows of zeros and ones, one behind the other, which gradients go through."""
        return torch.cat([each.rsample(sample_shape=sample_shape) for each in self._cats], dim=-1)

    def logp(self, value: Any, **more: Any) -> Any:
        """Return the logarithms of the probabilities of all choices together."""
        return sum(each.logp(one) for each, one in zip(self._cats, value.unbind(-1), strict=True))

    def entropy(self, **more: Any) -> Any:
        """Return the sums of the entropies."""
        return sum(each.entropy() for each in self._cats)

    def kl(self, other: Any, **more: Any) -> Any:
        """Return the sums of the divergences."""
        return sum(each.kl(theirs) for each, theirs in zip(self._cats, other._cats, strict=True))

    @staticmethod
    def required_input_dim(space: gymnasium.Space[Any], **more: Any) -> int:
        """Return how many choices there are in all."""
        if not isinstance(space, gymnasium.spaces.MultiDiscrete):
            raise ConfigError(f"TorchMultiCategorical is for MultiDiscrete, not for {space}")
        return int(np.sum(space.nvec))

    @classmethod
    def from_logits(
        cls,
        logits: Any,
        input_lens: Sequence[int] = (),
        temperatures: Sequence[float] | None = None,
        **more: Any,
    ) -> TorchMultiCategorical:
        """Return the distribution of logits that are divided by `input_lens`, each by a temperature if there are."""
        if sum(input_lens) != logits.shape[-1]:
            raise ValueError(f"input_lens {list(input_lens)} must add up to the {logits.shape[-1]} outputs")
        parts = logits.split(list(input_lens), dim=-1)
        heat = temperatures or [1.0] * len(parts)
        return cls([TorchCategorical(logits=part / t) for part, t in zip(parts, heat, strict=True)])

    def to_deterministic(self) -> TorchDeterministic:
        """Return the choices of the greatest logits."""
        return TorchDeterministic(loc=torch.stack([each.logits.argmax(-1) for each in self._cats], dim=-1))


class TorchMultiDistribution(Distribution):
    """Distributions of the parts of a Dict or Tuple of actions.

    Example: `TorchMultiDistribution({"a": TorchCategorical(logits=torch.zeros(1, 2))}).sample()`
    """

    def __init__(self, child_distribution_struct: Any) -> None:
        self._children = child_distribution_struct
        self._flat, self._treedef = optree.tree_flatten(child_distribution_struct)

    def _each(self, function: Any) -> Any:
        return optree.tree_map(function, self._children)

    def sample(self, *, sample_shape: Sequence[int] | None = None, **more: Any) -> Any:
        """Draw actions, in the form of the space."""
        return self._each(lambda each: each.sample(sample_shape=sample_shape))

    def rsample(self, *, sample_shape: Sequence[int] | None = None, **more: Any) -> Any:
        """Draw actions that gradients go through."""
        return self._each(lambda each: each.rsample(sample_shape=sample_shape))

    def logp(self, value: Any, **more: Any) -> Any:
        """Return the logarithms of the probabilities of all parts together."""
        parts = self._treedef.flatten_up_to(value)
        return sum(each.logp(part) for each, part in zip(self._flat, parts, strict=True))

    def entropy(self, **more: Any) -> Any:
        """Return the sums of the entropies."""
        return sum(each.entropy() for each in self._flat)

    def kl(self, other: Any, **more: Any) -> Any:
        """Return the sums of the divergences."""
        return sum(each.kl(theirs) for each, theirs in zip(self._flat, other._flat, strict=True))

    @staticmethod
    def required_input_dim(
        space: gymnasium.Space[Any], input_lens: Any = None, as_list: bool = False, **more: Any
    ) -> Any:
        """Return how many outputs all parts need together; with `as_list` those of each part."""
        if input_lens is None:
            input_lens = [
                get_torch_distribution_class(part).required_input_dim(part) for part in _parts(space)
            ]
        lengths = optree.tree_leaves(input_lens)
        return lengths if as_list else sum(lengths)

    @classmethod
    def from_logits(
        cls, logits: Any, child_distribution_cls_struct: Any = None, input_lens: Any = None, **more: Any
    ) -> TorchMultiDistribution:
        """Return the distributions of outputs that are divided by `input_lens`, of classes in the form of the space."""
        classes, treedef = optree.tree_flatten(child_distribution_cls_struct)
        lengths = optree.tree_leaves(input_lens)
        if len(classes) != len(lengths):
            raise ValueError(f"{len(classes)} classes of distributions, and {len(lengths)} input_lens")
        parts = logits.split(lengths, dim=-1)
        made = [kind.from_logits(part) for kind, part in zip(classes, parts, strict=True)]
        return cls(optree.tree_unflatten(treedef, made))

    def to_deterministic(self) -> TorchMultiDistribution:
        """Return the most likely actions of all parts."""
        return TorchMultiDistribution(self._each(lambda each: each.to_deterministic()))


def get_torch_distribution_class(space: gymnasium.Space[Any]) -> Any:
    """Return the class of distributions for a space of actions, which may be Dict or Tuple. Raises ConfigError.

    Example: `get_torch_distribution_class(gymnasium.spaces.Discrete(2))  # TorchCategorical`
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return TorchCategorical
    if isinstance(space, gymnasium.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return TorchDiagGaussian
    if isinstance(space, gymnasium.spaces.MultiDiscrete):
        lengths = [int(each) for each in space.nvec.reshape(-1)]
        return TorchMultiCategorical.get_partial_dist_cls(input_lens=lengths)
    if isinstance(space, (gymnasium.spaces.Dict, gymnasium.spaces.Tuple)):
        classes = _mapped(space, get_torch_distribution_class)
        lengths = _mapped(space, lambda each: get_torch_distribution_class(each).required_input_dim(each))
        return TorchMultiDistribution.get_partial_dist_cls(
            child_distribution_cls_struct=classes, input_lens=lengths
        )
    raise ConfigError(
        f"actions must be Discrete, MultiDiscrete, Box of real numbers, or Dict or Tuple of them; not {describe(space)}"
    )


def _mapped(space: Any, function: Any) -> Any:
    """A structure like a space's, of what a function says of each of its parts."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {name: _mapped(each, function) for name, each in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Tuple):
        return tuple(_mapped(each, function) for each in space.spaces)
    return function(space)


def _parts(space: Any) -> list[Any]:
    return list(optree.tree_leaves(_mapped(space, lambda each: each)))
