"""What carries a compiled graph's executions: channels in shared memory, or ordinary calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import attrs


@attrs.define(eq=False)
class Outcome:
    """What one output of one execution came to: a value, or the error to raise for it."""

    value: Any = None
    error: BaseException | None = None

    def take(self) -> Any:
        """Return the value or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


class Backend(ABC):
    """Carries executions. One thread submits and one reads at a time; `close` and `abandon` come from any."""

    @abstractmethod
    def has_room(self) -> bool:
        """Tell whether `submit` would not wait."""

    @abstractmethod
    def submit(self, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float) -> None:
        """Begin one execution. Nothing was begun if it raises NotSerializable, ValueTooLarge or ChannelTimeout.

        Raises ActorDied for a graph that an actor's death has broken, ChannelClosed for one that was closed.
        """

    @abstractmethod
    def read(self, timeout: float | None) -> list[Outcome]:
        """Return the outcomes of the oldest execution that was not read, in the order of the outputs.

        Raises ChannelTimeout (the same execution can be read again), ActorDied, ChannelClosed.
        """

    @abstractmethod
    def close(self, seconds: float, kill_actors: bool) -> None:
        """End everything that the graph began and wait so long for it. Never raises for what is dead already."""

    @abstractmethod
    def abandon(self) -> None:
        """End what can be ended without waiting: nobody has the graph any more."""
