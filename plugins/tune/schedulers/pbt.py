"""Population based training (Jaderberg et al., 2017), and its replay."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.tune.experiment.trial import Trial
from shoal.tune.modes import check_mode
from shoal.tune.schedulers.trial_scheduler import FIFOScheduler, TrialView
from shoal.tune.search.sample import Categorical, Domain

__all__ = ["PopulationBasedTraining", "PopulationBasedTrainingReplay", "explore"]


def explore(
    config: Mapping[str, Any],
    mutations: Mapping[str, Any],
    resample_probability: float,
    perturbation_factors: tuple[float, float],
    rng: random.Random,
) -> dict[str, Any]:
    """Return a configuration near another: each parameter of `mutations` is drawn anew, or changed by a factor or step.

    Example: `explore({"lr": 0.1}, {"lr": tune.loguniform(1e-4, 1)}, 0.25, (1.2, 0.8), random.Random(7))`
    """
    found = dict(config)
    for name, space in mutations.items():
        old = config[name]
        if isinstance(space, Mapping):
            found[name] = explore(old, space, resample_probability, perturbation_factors, rng)
            continue
        values = space.categories if isinstance(space, Categorical) else space
        if isinstance(values, (list, tuple)):
            if rng.random() < resample_probability or old not in values:
                found[name] = rng.choice(list(values))
            else:
                step = rng.choice((-1, 1))
                found[name] = values[min(max(list(values).index(old) + step, 0), len(values) - 1)]
        elif rng.random() < resample_probability:
            found[name] = space.draw(rng) if isinstance(space, Domain) else space()
        else:
            value = old * perturbation_factors[0 if rng.random() > 0.5 else 1]
            found[name] = int(value) if isinstance(old, int) and not isinstance(old, bool) else value
    return found


def _check_mutations(mutations: Mapping[str, Any]) -> None:
    for name, space in mutations.items():
        if isinstance(space, Mapping):
            _check_mutations(space)
        elif isinstance(space, (list, tuple)):
            if not space:
                raise ConfigError(f"hyperparam_mutations[{name!r}] is an empty list")
        elif not isinstance(space, Domain) and not callable(space):
            raise ConfigError(
                f"hyperparam_mutations[{name!r}] must be a list, a domain such as tune.uniform(0, 1) or a function, "
                f"not {describe(space)}"
            )


class PopulationBasedTraining(FIFOScheduler):
    """Every `perturbation_interval`, the worst trials take over checkpoint and configuration of the best, varied.

    Trials need checkpoints: a class can be saved at any step, a function reports them.

    Parameters: `time_attr` is what the interval counts, `metric` and `mode` ("max" or "min") what is best. Nothing is
    perturbed before `burn_in_period`. `hyperparam_mutations` has for each parameter a list, a domain or a function;
    `custom_explore_fn` changes a configuration after that, or alone. The worst and the best are `quantile_fraction` of
    all. A parameter is drawn anew with `resample_probability`, else multiplied with one of `perturbation_factors`.
    `log_config` writes each trial's changes to `pbt_policy_<trial>.txt` in the experiment's folder, for
    PopulationBasedTrainingReplay. With `require_attrs` a report without time or metric is an error. With `synch` all
    trials wait for each other at each interval. `seed` makes the choices again.
    Raises ConfigError.

    Example: `PopulationBasedTraining(metric="score", mode="max", hyperparam_mutations={"lr": [0.1, 0.01]})`
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        burn_in_period: float = 0.0,
        hyperparam_mutations: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: tuple[float, float] = (1.2, 0.8),
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        *,
        seed: int | None = None,
    ) -> None:
        if not hyperparam_mutations and custom_explore_fn is None:
            raise ConfigError(f"{type(self).__name__} needs hyperparam_mutations or custom_explore_fn")
        _check_mutations(hyperparam_mutations or {})
        if not 0 <= quantile_fraction <= 0.5:
            raise ConfigError(f"quantile_fraction must be between 0 and 0.5, not {quantile_fraction}")
        if not perturbation_interval > 0:
            raise ConfigError(f"perturbation_interval must be more than 0, not {perturbation_interval}")
        if not 0 <= resample_probability <= 1:
            raise ConfigError(f"resample_probability must be between 0 and 1, not {resample_probability}")
        if custom_explore_fn is not None and not callable(custom_explore_fn):
            raise ConfigError(f"custom_explore_fn must be a function, not {describe(custom_explore_fn)}")
        check_mode(mode)
        self.metric = metric
        self.mode = mode
        self.time_attr = time_attr
        self._interval = perturbation_interval
        self._burn_in = burn_in_period
        self._mutations = dict(hyperparam_mutations or {})
        self._quantile = quantile_fraction
        self._resample = resample_probability
        self._factors = perturbation_factors
        self._explore = custom_explore_fn
        self._log = log_config
        self._strict = require_attrs
        self._synch = synch
        self._seeded = seed is not None
        self._rng = random.Random(seed)
        self.scores: dict[str, float] = {}  # at each trial's last interval
        self._times: dict[str, float] = {}  # of the last perturbation
        self._next_sync = max(perturbation_interval, burn_in_period)
        self._arrived: set[str] = set()
        self.num_perturbations = 0
        self.policies: dict[str, list[list[Any]]] = {}

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take metric and mode, and the experiment's seed unless there is one."""
        if not self._seeded and spec.get("seed") is not None:
            self._rng = random.Random(spec["seed"])
        return super().set_search_properties(metric, mode, **spec)

    @property
    def needs_every_report(self) -> bool:
        """True: at intervals trials may become others."""
        return True

    def on_trial_add(self, tune_controller: TrialView, trial: Trial) -> None:
        """Know the trial; give it values for the parameters that the space does not have. Raises ConfigError."""
        if not self.metric or not self.mode:
            raise ConfigError(
                f"{type(self).__name__} needs metric and mode: give them to it or to TuneConfig"
            )
        self._fill(trial.config, self._mutations)
        self._times[trial.trial_id] = 0.0

    def _fill(self, config: dict[str, Any], mutations: Mapping[str, Any]) -> None:
        for name, space in mutations.items():
            if isinstance(space, Mapping):
                self._fill(config.setdefault(name, {}), space)
            elif name not in config:
                if isinstance(space, Domain):
                    config[name] = space.draw(self._rng)
                else:
                    config[name] = (
                        self._rng.choice(list(space)) if isinstance(space, (list, tuple)) else space()
                    )

    def on_trial_result(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> str:
        """At an interval: save the best, have the worst become one of them."""
        if self.time_attr not in result or (self.metric or "") not in result:
            if not self._strict:
                return self.CONTINUE
            if self.time_attr not in result:
                raise ConfigError(
                    f"the report has no {self.time_attr!r}, which is the time of {type(self).__name__}; "
                    "require_attrs=False lets it pass"
                )
        score = self.score(result)
        time = result[self.time_attr]
        name = trial.trial_id
        if self._synch:
            return self._synchronous(tune_controller, trial, time, score)
        if time < self._burn_in or time - self._times.get(name, 0.0) < self._interval:
            return self.CONTINUE
        self._observe(trial, result, score, time)
        self._times[name] = time
        lower, upper = self.quantiles(tune_controller)
        if trial in upper:
            tune_controller.save_trial(trial)
            return self.CONTINUE
        if trial in lower and self._exploit(trial, upper):
            return self.PAUSE
        return self.CONTINUE

    def _observe(self, trial: Trial, result: Mapping[str, Any], score: float, time: float) -> None:
        """Note a trial's score at an interval."""
        self.scores[trial.trial_id] = score

    def _synchronous(self, view: TrialView, trial: Trial, time: float, score: float) -> str:
        if time < self._next_sync:
            return self.CONTINUE
        self._observe(trial, trial.last_result, score, time)
        self._arrived.add(trial.trial_id)
        return self.PAUSE

    def _meet(self, view: TrialView) -> None:
        """Have the worst become the best, once all have come to the interval and are saved."""
        live = {trial.trial_id: trial for trial in view.get_live_trials()}
        if not self._arrived or not live.keys() <= self._arrived:
            return
        if any(trial not in view.waiting(Trial.PAUSED) for trial in live.values()):
            return  # one of them is still being saved
        lower, upper = self.quantiles(view)
        for trial in lower:
            self._exploit(trial, upper)
        self._arrived.clear()
        self._next_sync += self._interval

    def last_scores(self, trials: Sequence[Trial]) -> list[float]:
        """Return the scores of those of some trials that live and have come to an interval; more is better."""
        return [
            self.scores[trial.trial_id]
            for trial in trials
            if trial.trial_id in self.scores and not trial.is_finished()
        ]

    def reset_stats(self) -> None:
        """Count perturbations from 0 again."""
        self.num_perturbations = 0

    def quantiles(self, view: TrialView) -> tuple[list[Trial], list[Trial]]:
        """Return the worst and the best of the trials that live and have come to an interval."""
        known = [trial for trial in view.get_live_trials() if trial.trial_id in self.scores]
        known.sort(key=lambda trial: (self.scores[trial.trial_id], -trial.number))
        if len(known) <= 1:
            return [], []
        count = -int(-len(known) * self._quantile // 1)
        if count > len(known) / 2:
            count = len(known) // 2
        return known[:count], known[len(known) - count :]

    def _exploit(self, trial: Trial, upper: Sequence[Trial]) -> bool:
        """Have a trial go on from a better one's checkpoint, with a configuration near its; return whether it does."""
        better = [each for each in upper if each is not trial and each.checkpoint is not None]
        if not better:
            return False
        source = self._rng.choice(better)
        newest = source.checkpoint
        assert newest is not None
        new = self._new_config(trial, source)
        if self._log:
            self.policies.setdefault(trial.trial_id, []).append(
                [
                    trial.trial_id,
                    source.trial_id,
                    trial.last_result.get(self.time_attr, 0),
                    source.last_result.get(self.time_attr, 0),
                    dict(source.config),
                    new,
                ]
            )
        trial.set_config(new)
        trial.restore_path = newest.path or f"{source.dirname}/{newest.name}"
        trial.restore_iteration = int(newest.metrics.get("training_iteration", 0))
        self.scores.pop(trial.trial_id, None)
        self._times[trial.trial_id] = float(
            newest.metrics.get(self.time_attr, self._times.get(trial.trial_id, 0.0))
        )
        self.num_perturbations += 1
        return True

    def _new_config(self, trial: Trial, source: Trial) -> dict[str, Any]:
        new = explore(source.config, self._mutations, self._resample, self._factors, self._rng)
        if self._explore is not None:
            made = self._explore(new)
            if made is None:
                raise ConfigError("custom_explore_fn must return the configuration, not None")
            new = made
        return new

    def choose_trial_to_run(self, tune_controller: TrialView) -> Trial | None:
        """Return the trial that is least far, so that the population goes on together."""
        for trial in tune_controller.waiting(Trial.PENDING):
            return trial
        if self._synch:
            self._meet(tune_controller)
        waiting = [
            each for each in tune_controller.waiting(Trial.PAUSED) if each.trial_id not in self._arrived
        ]
        return min(waiting, key=lambda each: (self._times.get(each.trial_id, 0.0), each.number), default=None)

    def files(self) -> dict[str, str]:
        """Return each trial's changes, for PopulationBasedTrainingReplay."""
        return {
            f"pbt_policy_{trial_id}.txt": "".join(json.dumps(row, default=str) + "\n" for row in rows)
            for trial_id, rows in self.policies.items()
        }

    def debug_string(self) -> str:
        """Return how often a trial became another."""
        return f"PopulationBasedTraining: {self.num_perturbations} perturbs"


class PopulationBasedTrainingReplay(FIFOScheduler):
    """Runs one trial through the configurations that a trial of population based training has had.

    Parameters: `policy_file` is the `pbt_policy_<trial>.txt` of that trial.
    Raises ConfigError for a file that is none.

    Example: `PopulationBasedTrainingReplay("~/shoal_results/search/pbt_policy_1a2b3_00004.txt")`
    """

    def __init__(self, policy_file: str) -> None:
        import os

        path = os.path.expanduser(policy_file)
        try:
            with open(path, encoding="utf-8") as file:
                rows = [json.loads(line) for line in file if line.strip()]
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} is no policy of population based training: {error}") from error
        if not rows or any(not isinstance(row, list) or len(row) != 6 for row in rows):
            raise ConfigError(f"{path} is no policy of population based training: it has no changes")
        self.policy_file = path
        # What the trial itself was before it first became another is what it became another from.
        self._policy = [(int(row[3]), row[5]) for row in rows]
        self.config: dict[str, Any] = rows[0][4]
        self._trial: str | None = None
        self.current = 0

    @property
    def needs_every_report(self) -> bool:
        """True: at its times the configuration changes."""
        return True

    def on_trial_add(self, tune_controller: TrialView, trial: Trial) -> None:
        """Give the trial the first configuration. Raises ConfigError for a second trial."""
        if self._trial is not None and self._trial != trial.trial_id:
            raise ConfigError("a replay has one trial: leave num_samples at 1")
        self._trial = trial.trial_id
        trial.set_config({**trial.config, **self.config})

    def on_trial_result(self, tune_controller: TrialView, trial: Trial, result: Mapping[str, Any]) -> str:
        """Change the configuration at its time."""
        if self.current >= len(self._policy):
            return self.CONTINUE
        at, config = self._policy[self.current]
        if result.get("training_iteration", 0) < at:
            return self.CONTINUE
        self.current += 1
        trial.set_config({**trial.config, **config})
        return self.PAUSE

    def debug_string(self) -> str:
        """Return how far the replay is."""
        return f"PopulationBasedTraining replay: step {self.current} of {len(self._policy)}"
