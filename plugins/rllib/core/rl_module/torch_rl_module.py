"""Modules in torch: those of users, and the one that PPO has unless it is given another."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import nn

from shoal.rllib.core.columns import Columns
from shoal.rllib.core.distribution.torch_distribution import get_torch_distribution_class
from shoal.rllib.core.rl_module.apis import InferenceOnlyAPI, ValueFunctionAPI
from shoal.rllib.core.rl_module.rl_module import RLModule
from shoal.rllib.environments import size_of_observation
from shoal.rllib.modules.actor_critic import ActorCritic


class TorchRLModule(nn.Module, RLModule):  # type: ignore[misc]  # torch comes without types here
    """A module that is one of torch's: what `setup` makes as layers is learned.

    Example:
        class Mine(TorchRLModule):
            def setup(self):
                self.layer = torch.nn.Linear(self.observation_space.shape[0], int(self.action_space.n))
            def _forward(self, batch, **more):
                return {Columns.ACTION_DIST_INPUTS: self.layer(batch[Columns.OBS])}
    """

    framework = "torch"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        nn.Module.__init__(self)
        RLModule.__init__(self, *args, **kwargs)
        if self.inference_only and isinstance(self, InferenceOnlyAPI):
            for name in self.get_non_inference_attributes():
                owner, _, last = name.rpartition(".")
                holder = self.get_submodule(owner) if owner else self
                if hasattr(holder, last):
                    delattr(holder, last)

    def forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Do as `forward_train`; torch's own wrappers call it."""
        return self.forward_train(batch, **kwargs)

    def forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return what to do at best; no gradients are kept."""
        with torch.no_grad():
            return self._forward_inference(batch, **kwargs)

    def forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return what to do to learn from; no gradients are kept."""
        with torch.no_grad():
            return self._forward_exploration(batch, **kwargs)

    def compile(self, compile_config: Any = None) -> None:
        """Compile the ways forward by torch (`torch_dynamo_backend`, `torch_dynamo_mode`, `kwargs` of the settings)."""
        options = {} if compile_config is None else dict(compile_config.kwargs or {})
        if compile_config is not None:
            options |= {
                "backend": compile_config.torch_dynamo_backend,
                "mode": compile_config.torch_dynamo_mode,
            }
        for name in ("_forward_train", "_forward_inference", "_forward_exploration"):
            setattr(self, name, torch.compile(getattr(self, name), **options))

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        inference_only: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the weights as arrays, by name."""
        left_out: tuple[str, ...] = ()
        if inference_only and isinstance(self, InferenceOnlyAPI):
            left_out = tuple(f"{name}." for name in self.get_non_inference_attributes())
        return {
            name: value.detach().cpu().numpy()
            for name, value in self.state_dict().items()
            if not f"{name}.".startswith(left_out or ("\0",))
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take weights by name. Those for learning only may be missing or too many; others raise ValueError."""
        own = self.state_dict()
        optional: tuple[str, ...] = ("\0",)
        if isinstance(self, InferenceOnlyAPI):
            optional = tuple(f"{name}." for name in self.get_non_inference_attributes()) or optional
        wrong = [name for name in set(own) ^ set(state) if not f"{name}.".startswith(optional)]
        if wrong:
            raise ValueError(
                f"the state is of another module: {', '.join(sorted(wrong))} is in one of both only"
            )
        self.load_state_dict(
            {name: torch.from_numpy(np.array(value)) for name, value in state.items() if name in own},
            strict=False,
        )

    def _distribution(self) -> Any:
        return self.action_dist_cls or get_torch_distribution_class(self.action_space)


class DefaultPPOTorchRLModule(TorchRLModule, InferenceOnlyAPI, ValueFunctionAPI):
    """A policy and values, each a multilayer perceptron over flat observations: `shoal.rllib.modules`' own network.

    `model_config` has `fcnet_hiddens`, `fcnet_activation`, `vf_share_layers`.

    Example: `DefaultPPOTorchRLModule(observation_space=box, action_space=Discrete(2), model_config={})`
    """

    def setup(self) -> None:
        """Make the network."""
        model = self.model_config if isinstance(self.model_config, dict) else vars(self.model_config)
        inputs = self._distribution().required_input_dim(self.action_space)
        self.network = ActorCritic(
            size_of_observation(self.observation_space),
            inputs,
            tuple(model.get("fcnet_hiddens", (256, 256))),
            model.get("fcnet_activation", "tanh"),
            model.get("vf_share_layers", False),
        )

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.network.policy(self.network.body(batch[Columns.OBS]))}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        logits, values = self.network(batch[Columns.OBS])
        return {Columns.ACTION_DIST_INPUTS: logits, Columns.VF_PREDS: values}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Any:
        """Return a value for each row."""
        return self.network.value(self.network.value_body(batch[Columns.OBS])).squeeze(-1)

    def get_non_inference_attributes(self) -> list[str]:
        """Return the names of what only learning needs."""
        shared = self.model_config.get("vf_share_layers") if isinstance(self.model_config, dict) else False
        return ["network.value"] if shared else ["network.value", "network.value_body"]
