"""From arrays to items: of episodes, of agents, and in the order of the environments."""

from __future__ import annotations

from typing import Any

import optree

from shoal.rllib.connectors.connector_v2 import ConnectorV2, key_of
from shoal.rllib.core.columns import Columns
from shoal.rllib.core.rl_module.rl_module import MultiRLModule
from shoal.rllib.env.structures import unbatch


class UnBatchToIndividualItems(ConnectorV2):
    """Takes arrays apart: items by column and by whom they are of."""

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
        """Return the batch as items; for a module of several still by column and module."""
        if isinstance(rl_module, MultiRLModule):
            made: dict[str, Any] = {}
            for name, columns in batch.items():
                for column, rows in columns.items():
                    made.setdefault(column, {})[name] = unbatch(rows)
            return made
        keys = [key_of(episode) for episode in self.single_agent_episode_iterator(episodes)]
        single = {}
        for column, rows in batch.items():
            by_key: dict[Any, list[Any]] = {}
            for key, item in zip(keys, unbatch(rows), strict=True):
                by_key.setdefault(key, []).append(item)
            single[column] = by_key
        return single


class ModuleToAgentUnmapping(ConnectorV2):
    """For several agents: items by agent instead of by module, as AgentToModuleMapping left word."""

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
        """Return the batch by column and (episode, agent, module)."""
        whose = (shared_data or {})["memorized_map_structure"]
        made: dict[str, Any] = {}
        for column, by_module in batch.items():
            for module, items in by_module.items():
                for (episode, agent), item in zip(whose[module], items, strict=True):
                    made.setdefault(column, {}).setdefault((episode, agent, module), []).append(item)
        return made


class RemoveSingleTsTimeRankFromBatch(ConnectorV2):
    """For modules with a state: takes the dimension of time away, that AddTimeDimToBatchAndZeroPad put in."""

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
        """Return the batch without the dimension."""

        def without(name: str, columns: dict[str, Any], module: Any) -> None:
            if module.is_stateful() and name != Columns.STATE_OUT:
                columns[name] = optree.tree_map(lambda leaf: leaf.squeeze(1), columns[name])

        if isinstance(rl_module, MultiRLModule):
            for module, columns in batch.items():
                for name in columns:
                    without(name, columns, rl_module[module])
        else:
            for name in batch:
                without(name, batch, rl_module)
        return batch


class ListifyDataForVectorEnv(ConnectorV2):
    """Makes of each column a list with an item for each environment; for several agents a dictionary by agent in it."""

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
        """Return the batch as lists."""
        made: dict[str, list[Any]] = {}
        for column, by_key in batch.items():
            in_order: dict[Any, Any] = {episode.id_: {} for episode in episodes}
            for key, items in by_key.items():
                if len(key) == 3:
                    in_order[key[0]][key[1]] = items[-1]
                else:
                    in_order[key[0]] = items[-1]
            made[column] = [in_order[episode.id_] for episode in episodes]
        return made
