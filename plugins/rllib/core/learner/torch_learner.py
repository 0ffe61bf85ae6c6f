"""Learners in torch."""

from __future__ import annotations

from abc import ABC
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from shoal.rllib.core.learner.learner import Learner
from shoal.rllib.core.rl_module.rl_module import MultiRLModule, RLModule
from shoal.rllib.metrics.names import NUM_ENV_STEPS_SAMPLED_LIFETIME
from shoal.rllib.modules.optimizers import adam
from shoal.rllib.tensors.torch_tensors import clip_gradients


class TorchLearner(Learner, ABC):
    """A learner whose modules are torch's. Several learners (`config.learners(num_learners=2)`) share gradients.

    Example: `class Mine(TorchLearner): ...`, as `Learner` shows.
    """

    framework = "torch"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        gpus = getattr(self.config, "num_gpus_per_learner", 0) or getattr(self.config, "num_gpus", 0)
        self._device = torch.device("cuda" if gpus and torch.cuda.is_available() else "cpu")
        self._params: dict[Hashable, Any] = {}
        self._schedules: dict[str, Any] = {}

    @property
    def device(self) -> torch.device:
        """The device that it learns on."""
        return self._device

    def get_parameters(self, module: Any) -> Sequence[Any]:
        """Return the parameters of a module."""
        return list(module.parameters())

    def get_param_ref(self, param: Any) -> Hashable:
        """Return the parameter itself."""
        return param  # type: ignore[no-any-return]

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Make Adam with the setting `lr` for all of a module's parameters, if it has any."""
        module = self.module[module_id]
        parameters = self.get_parameters(module) if isinstance(module, nn.Module) else []
        if parameters:
            settings = config or self.config
            rate = settings.lr
            first = rate if isinstance(rate, (int, float)) else rate[0][1]
            self.register_optimizer(
                module_id=module_id,
                optimizer=adam(parameters, first),
                params=parameters,
                lr_or_lr_schedule=rate,
            )

    def compute_gradients(self, loss_per_module: Mapping[str, Any], **kwargs: Any) -> dict[Any, Any]:
        """Return gradients by their parameters; those of several learners are means."""
        for known in self._optimizers.values():
            for optimizer in known.values():
                optimizer.zero_grad(set_to_none=True)
        losses = list(loss_per_module.values())
        if losses:
            sum(losses[1:], losses[0]).backward()
        params = [param for listed in self._parameters.values() for param in listed]
        if self.distributed:
            _share(params)
        return {self.get_param_ref(param): param.grad for param in params}

    def postprocess_gradients_for_module(
        self, *, module_id: str, config: Any = None, module_gradients_dict: Mapping[Any, Any]
    ) -> dict[Any, Any]:
        """Return a module's gradients, bounded by `grad_clip` in the way that `grad_clip_by` says."""
        settings = config or self.config
        norm = clip_gradients(
            module_gradients_dict,
            grad_clip=settings.grad_clip,
            grad_clip_by=getattr(settings, "grad_clip_by", "global_norm"),
        )
        if norm is not None:
            self.metrics.log_value((module_id, "gradients_global_norm"), norm, reduce="item")
        return dict(module_gradients_dict)

    def apply_gradients(self, gradients_dict: Mapping[Any, Any]) -> None:
        """Let the optimisers make a step; numbers that are none are not applied."""
        for param, gradient in gradients_dict.items():
            param.grad = gradient
        for known in self._optimizers.values():
            for optimizer in known.values():
                optimizer.step()

    def _update(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        learned = {name: part for name, part in batch.items() if self.should_module_be_updated(name, batch)}
        given = self.module.forward_train(learned)
        losses = self.compute_losses(fwd_out=given, batch=learned)
        gradients = self.postprocess_gradients(self.compute_gradients(losses))
        self.apply_gradients(gradients)
        return losses

    def _placed(self, module: MultiRLModule) -> MultiRLModule:
        for each in module.values():
            self._placed_one(each)
        return module

    def _placed_one(self, module: RLModule) -> RLModule:
        if isinstance(module, nn.Module):
            module.to(self._device)
            module.train()
        return module

    def _optimizer_state(self) -> dict[str, Any]:
        return {
            f"{module}/{name}": optimizer.state_dict()
            for module, known in self._optimizers.items()
            for name, optimizer in known.items()
        }

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        for place, each in state.items():
            module, _, name = place.rpartition("/")
            self._optimizers[module][name].load_state_dict(each)

    def _schedule(self, name: str, scheduler: Any) -> None:
        self._schedules[name] = scheduler

    def _move_rates(self, timesteps: Mapping[str, Any]) -> None:
        steps = int(timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0))
        for place, scheduler in self._schedules.items():
            module, _, name = place.rpartition("/")
            rate = scheduler.update(steps)
            for group in self._optimizers[module][name].param_groups:
                group["lr"] = rate
            self.metrics.log_value((module, f"{name}_learning_rate"), rate, reduce="item")


def _share(params: Sequence[Any]) -> None:
    """Let gradients be the means of all learners'; a parameter without one counts as zeros."""
    from torch import distributed

    flat = torch.cat(
        [(torch.zeros_like(param) if param.grad is None else param.grad).reshape(-1) for param in params]
    )
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    start = 0
    for param in params:
        param.grad = flat[start : start + param.numel()].view_as(param).clone()
        start += param.numel()
