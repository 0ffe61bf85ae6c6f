"""The socket for searchers: what suggests configurations, and learns from what came of them."""

from __future__ import annotations

import copy
import glob
import os
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.tune.modes import check_modes

__all__ = [
    "FINISHED",
    "UNDEFINED_METRIC_MODE",
    "UNDEFINED_SEARCH_SPACE",
    "UNRESOLVED_SEARCH_SPACE",
    "Searcher",
    "check_modes",
]

UNRESOLVED_SEARCH_SPACE = (
    "{par} has values of the space, such as tune.uniform(): give them as Tuner(param_space=…), or as {cls}(space=…) in "
    "the searcher's own form"
)
UNDEFINED_SEARCH_SPACE = "{cls} needs a search space: give {space} to it, or param_space to Tuner"
UNDEFINED_METRIC_MODE = (
    "{cls} needs metric and mode, which are {metric!r} and {mode!r}: give them to it or to TuneConfig"
)

FINISHED = "FINISHED"


class Searcher:
    """Suggests configurations and learns from what came of them. Called by the controller, in one thread.

    Parameters: `metric` and `mode` ("max" or "min") may be given to TuneConfig instead; they may be lists.
    A subclass overrides `suggest` and `on_trial_complete`, and whatever it needs of the others. `suggest` returns a
    configuration, None for "not now", or `Searcher.FINISHED`. What it needs to go on later is what pickle stores of it,
    or what `save` writes.

    Example: see `docs/tune.md`
    """

    FINISHED = FINISHED
    CKPT_FILE_TMPL = "searcher-state-{}.pkl"

    def __init__(self, metric: Any = None, mode: Any = None) -> None:
        check_modes(metric, mode)
        self._metric = metric
        self._mode = mode

    @property
    def metric(self) -> Any:
        """The metric, or several."""
        return self._metric

    @property
    def mode(self) -> Any:
        """ "max" or "min", or one for each metric."""
        return self._mode

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        """Take the experiment's metric, mode and space. Return whether the space was taken."""
        return False

    def suggest(self, trial_id: str) -> Any:
        """Return a configuration for the trial of that name, None for not now, or FINISHED."""
        raise NotImplementedError(f"{type(self).__name__} has no method suggest")

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Learn from a report of a trial that goes on."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn from a trial's last report; with `error` it failed."""
        raise NotImplementedError(f"{type(self).__name__} has no method on_trial_complete")

    def on_pause(self, trial_id: str) -> None:
        """Know that a trial is paused (HyperBandForBOHB)."""

    def on_unpause(self, trial_id: str) -> None:
        """Know that a trial goes on (HyperBandForBOHB)."""

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Sequence[float] | None = None,
    ) -> None:
        """Learn from what was tried elsewhere. Raises NotImplementedError where the searcher cannot."""
        raise NotImplementedError(f"{type(self).__name__} cannot learn from past results")

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Learn from the ended trials of an experiment: an ExperimentAnalysis, or trials."""
        trials = getattr(trials_or_analysis, "trials", trials_or_analysis)
        for trial in [trials] if hasattr(trials, "trial_id") else trials:
            if trial.status == "TERMINATED" and metric in trial.last_result:
                self.add_evaluated_point(dict(trial.config), trial.last_result[metric])

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Take how many trials run at once; return whether the searcher keeps to it by itself."""
        return False

    def get_state(self) -> dict[str, Any]:
        """Return what `set_state` goes on from."""
        return dict(self.__dict__)

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self.__dict__.update(state)

    def save(self, checkpoint_path: str) -> None:
        """Store the state in a file."""
        import cloudpickle

        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump(copy.copy(self.get_state()), file)

    def restore(self, checkpoint_path: str) -> None:
        """Go on from a file that `save` wrote. It is unpickled: use your own only."""
        import cloudpickle

        with open(checkpoint_path, "rb") as file:
            self.set_state(cloudpickle.load(file))

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Store the state in a folder."""
        path = os.path.join(checkpoint_dir, self.CKPT_FILE_TMPL.format(session_str))
        self.save(f"{path}.new")
        os.replace(f"{path}.new", path)

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Go on from the newest state in a folder. Raises FileNotFoundError if there is none."""
        found = glob.glob(os.path.join(glob.escape(checkpoint_dir), self.CKPT_FILE_TMPL.format("*")))
        if not found:
            raise FileNotFoundError(f"no searcher has saved its state in {checkpoint_dir}")
        self.restore(max(found, key=os.path.getmtime))
