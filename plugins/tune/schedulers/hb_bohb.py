"""HyperBand as BOHB (Falkner et al., 2018) has it: the searcher learns from the scores at each budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.tune.experiment.trial import Trial
from shoal.tune.schedulers.hyperband import HyperBandScheduler
from shoal.tune.schedulers.trial_scheduler import TrialView

__all__ = ["HyperBandForBOHB"]


class HyperBandForBOHB(HyperBandScheduler):
    """HyperBand whose reports at milestones tell the searcher their budget: use it with TuneBOHB.

    Parameters: those of HyperBandScheduler.

    Example: `TuneConfig(search_alg=TuneBOHB(metric="loss", mode="min"), scheduler=HyperBandForBOHB(max_t=27))`
    """

    def on_trial_result(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> str:
        """Decide as HyperBand does, and put the milestone that was reached into the report as its budget."""
        bracket = self.brackets[self._bracket_of[trial.trial_id]]
        time = result.get(self.time_attr)
        if time is not None and time >= bracket.milestone - 1e-9 and isinstance(result, dict):
            result["hyperband_info"] = {"budget": bracket.milestone}
        return super().on_trial_result(tune_controller, trial, result)
