"""From items by episode to arrays by module and column, and from arrays to tensors and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optree
import torch

from shoal.rllib.connectors.connector_v2 import ConnectorV2
from shoal.rllib.core.columns import DEFAULT_MODULE_ID
from shoal.rllib.core.rl_module.rl_module import MultiRLModule
from shoal.rllib.env.structures import batch as batched


class AgentToModuleMapping(ConnectorV2):
    """For several agents: items by module instead of by agent. `shared_data` keeps what the way back needs.

    Parameters: `rl_module_specs` by name, `agent_to_module_mapping_fn` from (agent, episode) to a module's name.
    """

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        rl_module_specs: Mapping[str, Any] | None = None,
        agent_to_module_mapping_fn: Callable[..., str] | None = None,
        as_learner_connector: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_observation_space, input_action_space, **kwargs)
        self._specs, self._mapping = rl_module_specs, agent_to_module_mapping_fn

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch by column and module. Raises KeyError for items of an agent that no module plays."""
        whose: dict[str, list[Any]] = {}
        made: dict[str, Any] = {}
        for column, by_key in batch.items():
            for key, items in by_key.items():
                if len(key) != 3:
                    raise KeyError(f"an item of {column} is of {key}: it must be of (episode, agent, module)")
                episode, agent, module = key
                module = (
                    module if module is not None or self._mapping is None else self._mapping(agent, episode)
                )
                made.setdefault(column, {}).setdefault(module, []).extend(items)
                if next(iter(batch)) == column:
                    whose.setdefault(module, []).extend([(episode, agent)] * len(items))
        if shared_data is not None:
            shared_data["memorized_map_structure"] = whose
        return made


class BatchIndividualItems(ConnectorV2):
    """Puts items together as arrays: by column, or for a module of several by module and column."""

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        multi_agent: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_observation_space, input_action_space, **kwargs)
        self._several = multi_agent

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch as arrays."""
        if self._several:
            return {
                module: {column: batched(items) for column, items in columns.items()}
                for module, columns in self.switch_batch_from_column_to_module_ids(batch).items()
            }
        whose = [key[0] for key, items in next(iter(batch.values()), {}).items() for _ in items]
        if shared_data is not None:
            shared_data["episodes_of_rows"] = whose
        made = {
            column: batched([item for items in by_key.values() for item in items])
            for column, by_key in batch.items()
        }
        return {DEFAULT_MODULE_ID: made} if isinstance(rl_module, MultiRLModule) else made


class NumpyToTensor(ConnectorV2):
    """Makes tensors of arrays, of 32 bits where they are real numbers; what is no number stays as it is."""

    def __init__(
        self,
        input_observation_space: Any = None,
        input_action_space: Any = None,
        *,
        pin_memory: bool = False,
        device: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_observation_space, input_action_space, **kwargs)
        self._pins, self._device = pin_memory, device

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch as tensors."""
        columns: Any = batch
        return optree.tree_map(self._tensor, columns)

    def _tensor(self, array: Any) -> Any:
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
            return array
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        made = torch.from_numpy(np.ascontiguousarray(array))
        if self._pins:
            made = made.pin_memory()
        return made if self._device is None else made.to(self._device)


class TensorToNumpy(ConnectorV2):
    """Makes arrays of tensors."""

    def __call__(
        self,
        *,
        rl_module: Any,
        batch: dict[str, Any],
        episodes: list[Any],
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch as arrays."""
        columns: Any = batch
        return optree.tree_map(
            lambda leaf: leaf.detach().cpu().numpy() if isinstance(leaf, torch.Tensor) else leaf, columns
        )
