"""What gives an experiment its configurations, one after another."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from shoal.errors import ConfigError

if TYPE_CHECKING:
    from shoal.tune.experiment.trial import Trial

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

    CKPT_FILE_TMPL: ClassVar[str] = "search_gen_state-{}.pkl"

    def save_to_dir(self, dirpath: str, session_str: str = "default", **kwargs: Any) -> None:
        """Store what `get_state` returns in a folder, as a file of its own for each `session_str`."""
        import cloudpickle

        path = os.path.join(dirpath, self.CKPT_FILE_TMPL.format(session_str))
        with open(f"{path}.new", "wb") as file:
            cloudpickle.dump(self.get_state(), file)
        os.replace(f"{path}.new", path)

    def has_checkpoint(self, dirpath: str) -> bool:
        """Return whether there is such a file in a folder."""
        return bool(self._files_in(dirpath))

    def restore_from_dir(self, dirpath: str) -> None:
        """Go on from the newest such file in a folder. It is unpickled: use your own only. Raises FileNotFoundError."""
        import cloudpickle

        found = self._files_in(dirpath)
        if not found:
            raise FileNotFoundError(f"{dirpath} has no file {self.CKPT_FILE_TMPL.format('*')}")
        with open(max(found, key=os.path.getmtime), "rb") as file:
            self.set_state(cloudpickle.load(file))

    def _files_in(self, dirpath: str) -> list[str]:
        return glob.glob(os.path.join(glob.escape(dirpath), self.CKPT_FILE_TMPL.format("*")))

    def add_configurations(self, experiments: Any) -> None:
        """Take the space and the number of samples of an Experiment, where no experiment's controller gives them.

        Raises ConfigError for more than one: spaces do not add up.
        """
        given = list(experiments) if isinstance(experiments, (list, tuple)) else [experiments]
        if len(given) != 1:
            raise ConfigError(f"a search algorithm goes through one experiment's space, not {len(given)}")
        spec = given[0].spec
        self.set_search_properties(None, None, spec["config"], num_samples=spec["num_samples"])

    def next_trial(self) -> Trial | None:
        """Return a trial of the next configuration, None if there is none now; as the controller makes trials."""
        from shoal.tune.experiment.trial import Trial

        trial_id = Trial.generate_id()
        found = self.next(trial_id)
        if not isinstance(found, Suggestion):
            return None
        self._made = getattr(self, "_made", 0) + 1
        chosen = {"/".join(map(str, path)): value for path, value in found.chosen.items()}
        return Trial(trial_id, self._made - 1, found.config, chosen)

    def note_trial(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """Know of a trial that was made after the state was stored which this was restored from."""
