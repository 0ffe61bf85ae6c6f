"""PPO's loss for any module that has a policy and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from shoal.rllib.algorithms.ppo.learner import adapted
from shoal.rllib.connectors.learner import AddOneTsToEpisodesAndTruncate, GeneralAdvantageEstimation
from shoal.rllib.core.columns import Columns
from shoal.rllib.core.learner.torch_learner import TorchLearner
from shoal.rllib.core.rl_module.apis import ValueFunctionAPI
from shoal.rllib.tensors.torch_tensors import explained_variance


class PPOTorchLearner(TorchLearner):
    """Learns by equations 7 and 8 of Schulman et al. (2017), the penalty of which adapts. Override the loss, or parts.

    Example:
        class Mine(PPOTorchLearner):
            def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
                loss = super().compute_loss_for_module(
                    module_id=module_id, config=config, batch=batch, fwd_out=fwd_out)
                return loss + 0.01 * sum(p.square().sum() for p in self.module[module_id].parameters())
    """

    def build(self) -> None:
        """Make everything, and put PPO's connectors around the others."""
        if self._built:
            return
        super().build()
        self._kl_coeffs = {
            name: float(self.config.kl_coeff) if self.config.use_kl_loss else 0.0
            for name in self.module.keys()  # noqa: SIM118
        }
        self._divergences: dict[str, list[float]] = {}
        if self.config.add_default_connectors_to_learner_pipeline:
            self._learner_connector.prepend(AddOneTsToEpisodesAndTruncate())
            self._learner_connector.append(
                GeneralAdvantageEstimation(gamma=self.config.gamma, lambda_=self.config.lambda_)
            )

    @classmethod
    def rl_module_required_apis(cls) -> list[type]:
        """Return what modules must be able to do."""
        return [ValueFunctionAPI]

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Any:
        """Return the loss of one module."""
        module = self.module[module_id].unwrapped()
        kind = module.get_train_action_dist_cls()
        mask = batch.get(Columns.LOSS_MASK)

        def mean(values: Any) -> Any:
            return values.mean() if mask is None else values[mask].sum() / mask.sum().clamp(min=1)

        now = kind.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS])
        before = kind.from_logits(batch[Columns.ACTION_DIST_INPUTS])
        ratio = torch.exp(now.logp(batch[Columns.ACTIONS]) - batch[Columns.ACTION_LOGP])
        advantages = batch[Columns.ADVANTAGES]
        clipped = ratio.clamp(1 - config.clip_param, 1 + config.clip_param)
        policy_loss = -mean(torch.min(ratio * advantages, clipped * advantages))
        values = fwd_out[Columns.VF_PREDS] if Columns.VF_PREDS in fwd_out else module.compute_values(batch)
        targets = batch[Columns.VALUE_TARGETS]
        value_loss = mean((values - targets).square().clamp(max=config.vf_clip_param))
        entropy = mean(now.entropy())
        loss = policy_loss + config.vf_loss_coeff * value_loss - config.entropy_coeff * entropy
        divergence = mean(before.kl(now))
        if config.use_kl_loss:
            loss = loss + self._kl_coeffs[module_id] * divergence
            self._divergences.setdefault(module_id, []).append(divergence.detach())
        self.metrics.log_dict(
            {
                "policy_loss": policy_loss.detach(),
                "vf_loss": value_loss.detach(),
                "entropy": entropy.detach(),
                "mean_kl_loss": divergence.detach(),
                "vf_explained_var": explained_variance(targets.reshape(-1), values.detach().reshape(-1)),
                "curr_kl_coeff": self._kl_coeffs[module_id],
            },
            key=module_id,
            reduce="item",
        )
        return loss

    def after_gradient_based_update(self, *, timesteps: Mapping[str, Any]) -> None:
        """Move the penalty's coefficients."""
        super().after_gradient_based_update(timesteps=timesteps)
        for name, seen in self._divergences.items():
            if self.config.use_kl_loss:
                last = float(seen[-1])
                self._kl_coeffs[name] = adapted(self._kl_coeffs[name], last, self.config.kl_target)
        self._divergences = {}

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return weights, the optimisers' states and the coefficients."""
        return {**super().get_state(*args, **kwargs), "kl_coeffs": dict(self._kl_coeffs)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take them."""
        super().set_state(state)
        self._kl_coeffs.update(state.get("kl_coeffs", {}))
