"""What gives an experiment its configurations, one after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["DONE", "WAIT", "SearchAlgorithm", "Suggestion"]


@attrs.frozen
class Suggestion:
    """A configuration to try, and what was chosen in it, by path."""

    config: dict[str, Any]
    chosen: Mapping[tuple[Any, ...], Any] = attrs.field(factory=dict)


class _Mark:
    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


WAIT = _Mark("WAIT")  # nothing now; ask again when a trial has ended
DONE = _Mark("DONE")  # nothing any more


class SearchAlgorithm:
    """Gives configurations until it is done. It is asked and told by the experiment's controller, in one thread.

    `next` must return a Suggestion, WAIT or DONE. A subclass keeps what `get_state` returns small: it is stored often.
    """

    metric: str | None = None

    @property
    def total_samples(self) -> int:
        """How many configurations there will be; −1 if that is not known."""
        return -1

    def set_search_properties(self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any) -> bool:
        """Take the experiment's metric, mode and space. Return whether that was possible."""
        return False

    def next(self, trial_id: str) -> Any:
        """Return what the trial of that name is to try: a Suggestion, WAIT or DONE."""
        raise NotImplementedError(f"{type(self).__name__} has no method next")

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Know what a trial has reported."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Know that a trial has ended, with its last report."""

    def is_finished(self) -> bool:
        """Return whether there is nothing to try any more."""
        return False

    def set_finished(self) -> None:
        """Give nothing any more."""

    def get_state(self) -> Any:
        """Return what `set_state` goes on from."""
        return None

    def set_state(self, state: Any) -> None:
        """Go on from what `get_state` returned."""

    def note_trial(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """Know of a trial that was made after the state was stored which this was restored from."""
