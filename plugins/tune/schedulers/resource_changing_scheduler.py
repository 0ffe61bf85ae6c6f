"""Gives trials more or other resources while the experiment goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.experiment.trial import Trial
from shoal.tune.resources import PlacementGroupFactory, resources_of
from shoal.tune.schedulers.trial_scheduler import FIFOScheduler, TrialScheduler, TrialView

__all__ = ["DistributeResources", "DistributeResourcesToTopJob", "ResourceChangingScheduler"]


class DistributeResources:
    """Shares what the cluster has among the trials that live, in equal parts, as multiples of what a trial began with.

    Parameters: with `add_bundles` a trial gets more bundles like its first, else a larger first bundle. `increase_by`
    is one step, such as {"CPU": 1} (the first bundle by default), `increase_by_times` the most steps (−1: no bound).
    `reserve_resources` is left free.
    Raises ConfigError.

    Example: `ResourceChangingScheduler(ASHAScheduler(), DistributeResources())`
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
    ) -> None:
        if increase_by is not None and not any(increase_by.values()):
            raise ConfigError(f"increase_by must have an amount above 0, not {describe(increase_by)}")
        self.add_bundles = add_bundles
        self.increase_by = dict(increase_by or {})
        self.increase_by_times = increase_by_times
        self.reserve_resources = dict(reserve_resources or {})

    def __call__(
        self,
        tune_controller: TrialView,
        trial: Trial,
        result: Mapping[str, Any],
        scheduler: ResourceChangingScheduler,
    ) -> PlacementGroupFactory | None:
        """Return what the trial is to have, None for what it has."""
        base = scheduler.base_resources(trial)
        live = list(tune_controller.get_live_trials())
        return self._with(base, self._steps(base, self._total(tune_controller), len(live)))

    def _total(self, view: TrialView) -> dict[str, float]:
        total = view.cluster_resources()
        return {name: amount - self.reserve_resources.get(name, 0.0) for name, amount in total.items()}

    def _steps(self, base: PlacementGroupFactory, total: Mapping[str, float], sharers: int) -> int:
        """Return how many steps more than its base each of so many trials can have."""
        step = self.increase_by or base.head
        need = base.required_resources
        counts = [
            int((total.get(name, 0.0) / max(sharers, 1) - need.get(name, 0.0)) / amount + 1e-6)
            for name, amount in step.items()
            if amount > 0
        ]
        steps = max(0, min(counts, default=0))
        return steps if self.increase_by_times < 0 else min(steps, self.increase_by_times)

    def _with(self, base: PlacementGroupFactory, steps: int) -> PlacementGroupFactory:
        step = self.increase_by or base.head
        if self.add_bundles:
            return PlacementGroupFactory([*base.bundles, *([step] * steps)], base.strategy)
        head = base.head
        for name, amount in step.items():
            head[name] = head.get(name, 0.0) + steps * amount
        return PlacementGroupFactory([head, *base.bundles[1:]], base.strategy)


class DistributeResourcesToTopJob(DistributeResources):
    """Gives all that is free to the best trial.

    Parameters: `metric` and `mode` say which is best, those of the experiment if None; the others are those of
    DistributeResources.

    Example: `ResourceChangingScheduler(ASHAScheduler(), DistributeResourcesToTopJob(metric="loss", mode="min"))`
    """

    def __init__(
        self,
        add_bundles: bool = False,
        increase_by: Mapping[str, float] | None = None,
        increase_by_times: int = -1,
        reserve_resources: Mapping[str, float] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        super().__init__(add_bundles, increase_by, increase_by_times, reserve_resources)
        self.metric = metric
        self.mode = mode

    def __call__(
        self,
        tune_controller: TrialView,
        trial: Trial,
        result: Mapping[str, Any],
        scheduler: ResourceChangingScheduler,
    ) -> PlacementGroupFactory | None:
        """Return what the trial is to have: its base, and what is free if it is the best."""
        metric, mode = self.metric or scheduler.metric, self.mode or scheduler.mode
        if not metric or not mode:
            raise ConfigError("DistributeResourcesToTopJob needs metric and mode")
        live = [each for each in tune_controller.get_live_trials() if metric in each.last_result]
        sign = 1.0 if mode == "max" else -1.0
        best = max(live, key=lambda each: sign * each.last_result[metric], default=None)
        base = scheduler.base_resources(trial)
        if best is not trial:
            return base
        free = self._total(tune_controller)
        for each in tune_controller.get_live_trials():
            if each is not trial and each.status == Trial.RUNNING:
                for name, amount in scheduler.base_resources(each).required_resources.items():
                    free[name] = free.get(name, 0.0) - amount
        return self._with(base, self._steps(base, free, 1))


class ResourceChangingScheduler(TrialScheduler):
    """Lets a function change a trial's resources at each report; who gets others goes on from a checkpoint.

    Parameters: `base_scheduler` decides which trials go on. `resources_allocation_function` is called with the
    experiment, the trial, its report and this scheduler; it returns a PlacementGroupFactory, a mapping, or None for no
    change (DistributeResources by default).
    Raises ConfigError.

    Example: `ResourceChangingScheduler(ASHAScheduler(), DistributeResources())`
    """

    def __init__(
        self,
        base_scheduler: TrialScheduler | None = None,
        resources_allocation_function: Callable[..., Any] | None = None,
    ) -> None:
        if base_scheduler is not None and not isinstance(base_scheduler, TrialScheduler):
            raise ConfigError(f"base_scheduler must be a TrialScheduler, not {describe(base_scheduler)}")
        self.base_scheduler = base_scheduler or FIFOScheduler()
        self.resources_allocation_function = resources_allocation_function or DistributeResources()
        self._bases: dict[str, PlacementGroupFactory] = {}
        self.metric = self.base_scheduler.metric
        self.mode = self.base_scheduler.mode

    def base_resources(self, trial: Trial) -> PlacementGroupFactory:
        """Return what a trial began with."""
        return self._bases.get(trial.trial_id) or resources_of(None)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Pass metric and mode on."""
        taken = self.base_scheduler.set_search_properties(metric, mode, **spec)
        self.metric, self.mode = self.base_scheduler.metric, self.base_scheduler.mode
        return taken

    def on_trial_add(self, tune_controller: TrialView, trial: Trial, **kwargs: Any) -> None:
        """Note what the trial begins with."""
        self._bases[trial.trial_id] = tune_controller.resources_of_trial(trial)
        self.base_scheduler.on_trial_add(tune_controller, trial, **kwargs)

    def on_trial_error(self, tune_controller: TrialView, trial: Trial, **kwargs: Any) -> None:
        """Pass it on."""
        self.base_scheduler.on_trial_error(tune_controller, trial, **kwargs)

    def on_trial_result(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> str:
        """Decide as the base scheduler does; pause a trial that goes on with other resources."""
        decision = self.base_scheduler.on_trial_result(tune_controller, trial, result)
        if decision != self.CONTINUE:
            return decision
        new = self.reallocate_trial_resources_if_needed(tune_controller, trial, result)
        if new is None:
            return decision
        self.set_trial_resources(trial, new)
        return self.PAUSE

    @property
    def base_trial_resources(self) -> PlacementGroupFactory | None:
        """What trials begin with, None before there is one."""
        return next(iter(self._bases.values()), None)

    def reallocate_trial_resources_if_needed(
        self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]
    ) -> PlacementGroupFactory | None:
        """Return what the function says that a trial is to have, None if it has that."""
        new = self.resources_allocation_function(tune_controller, trial, result, self)
        made = None if new is None else resources_of(new)
        return None if made == tune_controller.resources_of_trial(trial) else made

    def set_trial_resources(self, trial: Trial, new_resources: Any) -> bool:
        """Have a trial get other resources from its next start on; return whether they are others."""
        made = resources_of(new_resources)
        changes: bool = made != trial.resources
        trial.resources = made
        return changes

    def on_trial_complete(
        self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any], **kwargs: Any
    ) -> None:
        """Pass it on."""
        self.base_scheduler.on_trial_complete(tune_controller, trial, result, **kwargs)

    def on_trial_remove(self, tune_controller: TrialView, trial: Trial, **kwargs: Any) -> None:
        """Pass it on."""
        self.base_scheduler.on_trial_remove(tune_controller, trial, **kwargs)

    def choose_trial_to_run(self, tune_controller: TrialView, **kwargs: Any) -> Trial | None:
        """Return a trial that waits for its new resources, else what the base scheduler chooses."""
        for trial in tune_controller.waiting(Trial.PAUSED):
            if trial.resources is not None and trial.resources != self._bases.get(trial.trial_id):
                return trial
        return self.base_scheduler.choose_trial_to_run(tune_controller, **kwargs)

    def debug_string(self) -> str:
        """Return what the base scheduler does."""
        return f"ResourceChangingScheduler, {self.base_scheduler.debug_string()}"
