"""What a module must be able to do for certain learners: classes to inherit from beside RLModule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

TARGET_NETWORK_ACTION_DIST_INPUTS = "target_network_action_dist_inputs"


class ValueFunctionAPI(ABC):
    """A module that tells how much return is to be expected; PPO needs it.

    Example: `class Mine(TorchRLModule, ValueFunctionAPI): ...`
    """

    @abstractmethod
    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Any:
        """Return a value for each row; `embeddings` are what `_forward_train` gave as such, if it did."""


class InferenceOnlyAPI(ABC):
    """A module parts of which only learning needs."""

    @abstractmethod
    def get_non_inference_attributes(self) -> list[str]:
        """Return the names of attributes (dots go deeper) whose weights runners need not have."""


class TargetNetworkAPI(ABC):
    """A module with slower copies of its networks, that targets are computed with (Mnih et al., 2015)."""

    @abstractmethod
    def make_target_networks(self) -> None:
        """Make the copies; called once, where it is learned."""

    @abstractmethod
    def get_target_network_pairs(self) -> list[tuple[Any, Any]]:
        """Return (network, copy) of each."""

    @abstractmethod
    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return what the copies give."""


class QNetAPI(ABC):
    """A module that tells how much return each action leads to."""

    @abstractmethod
    def compute_q_values(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return values of actions, under "qf_preds"."""

    def compute_advantage_distribution(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return distributions of advantages, where the module has such. Raises NotImplementedError where not."""
        raise NotImplementedError(f"{type(self).__name__} has no distributions of advantages")


class SelfSupervisedLossAPI(ABC):
    """A module that brings its own loss, such as a model of the world beside a policy."""

    @abstractmethod
    def compute_self_supervised_loss(
        self,
        *,
        learner: Any,
        module_id: str,
        config: Any,
        batch: dict[str, Any],
        fwd_out: dict[str, Any],
        **kwargs: Any,
    ) -> Any:
        """Return the loss, a tensor of no dimensions."""
