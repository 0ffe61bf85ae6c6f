"""The reference's other names for telling how values of a class are pickled."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import shoal


class StandaloneSerializationContext:
    """Tells this process about the pickling of classes, as `register_serializer` does."""

    def _register_cloudpickle_reducer(self, cls: type, reducer: Callable[[Any], tuple[Any, ...]]) -> None:
        shoal.register_serializer(cls, serializer=reducer, deserializer=_apply_reduced)

    def _unregister_cloudpickle_reducer(self, cls: type) -> None:
        shoal.deregister_serializer(cls)

    def _register_cloudpickle_serializer(
        self, cls: type, custom_serializer: Callable[[Any], Any], custom_deserializer: Callable[[Any], Any]
    ) -> None:
        shoal.register_serializer(cls, serializer=custom_serializer, deserializer=custom_deserializer)


def _apply_reduced(reduced: tuple[Any, ...]) -> Any:
    function, arguments, *_ = reduced
    return function(*arguments)


def apply(serialization_context: Any) -> None:
    """Tell the context about classes of libraries that cannot be pickled by themselves, where these are installed."""
    register_starlette_serializer(serialization_context)


def register_starlette_serializer(serialization_context: Any) -> None:
    """Let the state of Starlette's applications be pickled; without Starlette nothing happens."""
    if importlib.util.find_spec("starlette") is None:
        return
    state = importlib.import_module("starlette.datastructures").State
    serialization_context._register_cloudpickle_serializer(
        state, custom_serializer=lambda one: one._state, custom_deserializer=lambda values: state(values)
    )
