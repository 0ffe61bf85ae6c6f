"""Pieces one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import gymnasium

from shoal.errors import ConfigError, describe
from shoal.rllib.checkpoints import chosen
from shoal.rllib.connectors.connector_v2 import ConnectorV2


class ConnectorPipelineV2(ConnectorV2):
    """Pieces one behind the other; each gets the spaces that the one before it gives.

    Parameters: `connectors` are pieces, or functions with the parameters of `ConnectorV2.__call__`.

    Example: `ConnectorPipelineV2(connectors=[FlattenObservations()]).append(NumpyToTensor())`
    """

    def __init__(
        self,
        input_observation_space: gymnasium.Space[Any] | None = None,
        input_action_space: gymnasium.Space[Any] | None = None,
        *,
        connectors: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.connectors: list[Any] = []
        for each in connectors or ():
            self.connectors.append(_piece(each))
        super().__init__(input_observation_space, input_action_space, **kwargs)
        self._tell_spaces()

    def __call__(
        self,
        *,
        rl_module: Any = None,
        batch: dict[str, Any] | None = None,
        episodes: list[Any] | None = None,
        explore: bool | None = None,
        shared_data: dict[str, Any] | None = None,
        metrics: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Return the batch behind the last piece. Raises TypeError, with the piece's name, if one returns none."""
        made: Any = {} if batch is None else batch
        shared = {} if shared_data is None else shared_data
        for piece in self.connectors:
            made = piece(
                rl_module=rl_module,
                batch=made,
                episodes=episodes or [],
                explore=explore,
                shared_data=shared,
                metrics=metrics,
                **kwargs,
            )
            if not isinstance(made, dict):
                raise TypeError(f"the connector {piece} returned {describe(made)}; it must return the batch")
        return made

    def append(self, connector: Any) -> None:
        """Put a piece at the end."""
        self._insert(len(self), connector)

    def prepend(self, connector: Any) -> None:
        """Put a piece at the beginning."""
        self._insert(0, connector)

    def insert_before(self, name_or_class: Any, connector: Any) -> Any:
        """Put a piece before another, that is told by its class or the class's name; return it. Raises ValueError."""
        return self._insert(self._find(name_or_class), connector)

    def insert_after(self, name_or_class: Any, connector: Any) -> Any:
        """Put a piece behind another, that is told by its class or the class's name; return it. Raises ValueError."""
        return self._insert(self._find(name_or_class) + 1, connector)

    def remove(self, name_or_class: Any) -> None:
        """Take a piece away. Raises ValueError if it is not there."""
        del self.connectors[self._find(name_or_class)]
        self._tell_spaces()

    def __len__(self) -> int:
        return len(self.connectors)

    def __getitem__(self, key: Any) -> Any:
        """Return the piece with a number, or a list of all those of a class or with a class's name."""
        if isinstance(key, (int, slice)):
            return self.connectors[key]
        found = [each for each in self.connectors if _is(each, key)]
        if not found:
            raise KeyError(f"there is no connector {key!r}; there are {self}")
        return found

    def recompute_output_observation_space(
        self, input_observation_space: Any, input_action_space: Any
    ) -> Any:
        """Return the space of observations behind the last piece."""
        return self._spaces()[0]

    def recompute_output_action_space(self, input_observation_space: Any, input_action_space: Any) -> Any:
        """Return the space of actions behind the last piece."""
        return self._spaces()[1]

    @property
    def input_observation_space(self) -> Any:
        """The space of observations that come in."""
        return self._input_observation_space

    @input_observation_space.setter
    def input_observation_space(self, space: Any) -> None:
        self._input_observation_space = space
        self._tell_spaces()

    @property
    def input_action_space(self) -> Any:
        """The space of actions that come in."""
        return self._input_action_space

    @input_action_space.setter
    def input_action_space(self, space: Any) -> None:
        self._input_action_space = space
        self._tell_spaces()

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the states of the pieces, by their places and names."""
        return {
            name: each.get_state()
            for name, each in self.get_checkpointable_components()
            if chosen(name, components, not_components)
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take the states of pieces; those that are not there do nothing."""
        for name, each in self.get_checkpointable_components():
            if name in state:
                each.set_state(state[name])

    def reset_state(self) -> None:
        """Let all pieces forget their states."""
        for _, each in self.get_checkpointable_components():
            each.reset_state()

    def merged(self, states: list[dict[str, Any]]) -> dict[str, Any]:
        """Return one state of several runners' pipelines like this one: what the pieces make of theirs."""
        pieces = dict(self.get_checkpointable_components())
        return {name: piece.merge_states([state[name] for state in states]) for name, piece in pieces.items()}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Return the pieces that are classes', by their places and names."""
        return [
            (f"{place:03d}_{type(each).__name__}", each)
            for place, each in enumerate(self.connectors)
            if isinstance(each, ConnectorV2)
        ]

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what a pipeline like this one is made with."""
        return (), {**super().get_ctor_args_and_kwargs()[1], "connectors": self.connectors}

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(_name, self.connectors))})"

    def _insert(self, place: int, connector: Any) -> Any:
        made = _piece(connector)
        self.connectors.insert(place, made)
        self._tell_spaces()
        return made

    def _find(self, which: Any) -> int:
        for place, each in enumerate(self.connectors):
            if _is(each, which):
                return place
        raise ValueError(f"there is no connector {which!r}; there are {self}")

    def _tell_spaces(self) -> None:
        self._spaces(tells=True)

    def _spaces(self, tells: bool = False) -> tuple[Any, Any]:
        seen, acted = self._input_observation_space, self._input_action_space
        for each in self.connectors:
            if not isinstance(each, ConnectorV2) or seen is None:
                continue
            if tells:
                each._input_observation_space, each._input_action_space = seen, acted
                if isinstance(each, ConnectorPipelineV2):
                    each._tell_spaces()
            behind = each.recompute_output_observation_space(seen, acted)
            seen, acted = behind, each.recompute_output_action_space(seen, acted)
        return seen, acted


def pipeline_of(kind: type[ConnectorPipelineV2], made: Any, spaces: tuple[Any, Any]) -> ConnectorPipelineV2:
    """Return a pipeline with what a user's function gave: None, a piece, several, or a pipeline.

    Example: `pipeline_of(EnvToModulePipeline, FlattenObservations(), (observations, actions))`
    """
    if isinstance(made, ConnectorPipelineV2):
        pieces = list(made.connectors)
    else:
        pieces = [] if made is None else list(made) if isinstance(made, (list, tuple)) else [made]
    return kind(spaces[0], spaces[1], connectors=pieces)


def _piece(given: Any) -> Callable[..., Any]:
    if isinstance(given, type) and issubclass(given, ConnectorV2):
        made: Callable[..., Any] = given()
        return made
    if not callable(given):
        raise ConfigError(f"a connector is a ConnectorV2 or a function, not {describe(given)}")
    piece: Callable[..., Any] = given
    return piece


def _name(piece: Any) -> str:
    return getattr(piece, "__name__", None) or str(piece)


def _is(piece: Any, which: Any) -> bool:
    return isinstance(piece, which) if isinstance(which, type) else type(piece).__name__ == which
