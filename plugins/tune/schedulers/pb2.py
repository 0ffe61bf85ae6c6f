"""Population based bandits (Parker-Holder et al., 2020): PBT whose new configurations a Gaussian process proposes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.experiment.trial import Trial
from shoal.tune.schedulers.pbt import PopulationBasedTraining
from shoal.tune.search.sample import uniform

__all__ = ["PB2", "import_pb2_dependencies"]

_CANDIDATES = 1000
_MOST_POINTS = 400  # that the process is fitted to: the newest
_LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)  # of the kernel, in the unit cube


def import_pb2_dependencies() -> None:
    """Import what PB2 needs. Raises ConfigError without NumPy."""
    try:
        import numpy  # noqa: F401  only whether it is there
    except ImportError as error:
        raise ConfigError("PB2 needs NumPy: pip install numpy") from error


class PB2(PopulationBasedTraining):
    """Population based training whose new configurations maximise an upper confidence bound on the gain.

    The gain in the metric between two intervals is modelled by a Gaussian process over time, score and parameters.

    Parameters: `hyperparam_bounds` has a [least, most] for each parameter, all of them numbers; the others are those
    of PopulationBasedTraining.
    Raises ConfigError.

    Example: `PB2(metric="score", mode="max", perturbation_interval=10, hyperparam_bounds={"lr": [1e-4, 1e-1]})`
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_bounds: Mapping[str, Sequence[float]] | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
        *,
        seed: int | None = None,
    ) -> None:
        import_pb2_dependencies()
        if not hyperparam_bounds:
            raise ConfigError("PB2 needs hyperparam_bounds: {'lr': [1e-4, 1e-1]}")
        for name, bounds in hyperparam_bounds.items():
            if not isinstance(bounds, (list, tuple)) or len(bounds) != 2 or not bounds[0] < bounds[1]:
                raise ConfigError(f"hyperparam_bounds[{name!r}] must be [least, most], not {bounds!r}")
        super().__init__(
            time_attr=time_attr,
            metric=metric,
            mode=mode,
            perturbation_interval=perturbation_interval,
            hyperparam_mutations={
                name: uniform(low, high) for name, (low, high) in hyperparam_bounds.items()
            },
            quantile_fraction=quantile_fraction,
            resample_probability=0,
            custom_explore_fn=custom_explore_fn,
            log_config=log_config,
            require_attrs=require_attrs,
            synch=synch,
            seed=seed,
        )
        self._bounds = {name: (float(low), float(high)) for name, (low, high) in hyperparam_bounds.items()}
        self._rows: list[tuple[float, float, list[float], float]] = []  # time, score before, parameters, gain
        self._before: dict[str, float] = {}

    def _observe(self, trial: Trial, result: Mapping[str, Any], score: float, time: float) -> None:
        """Note what the parameters have gained since the last interval."""
        before = self._before.get(trial.trial_id)
        if before is not None:
            values = [float(trial.config[name]) for name in self._bounds]
            self._rows.append((time, before, values, score - before))
            del self._rows[:-_MOST_POINTS]
        self._before[trial.trial_id] = score
        super()._observe(trial, result, score, time)

    def _new_config(self, trial: Trial, source: Trial) -> dict[str, Any]:
        new = dict(source.config)
        score = self.scores.get(source.trial_id, 0.0)
        self._before[trial.trial_id] = score  # it goes on from there
        values = self._propose(float(source.last_result.get(self.time_attr, 0.0)), score)
        for name, value in zip(self._bounds, values, strict=True):
            old = source.config.get(name)
            new[name] = round(value) if isinstance(old, int) and not isinstance(old, bool) else value
        if self._explore is not None:
            made = self._explore(new)
            if made is None:
                raise ConfigError("custom_explore_fn must return the configuration, not None")
            new = made
        return new

    def _propose(self, time: float, score: float) -> list[float]:
        """Return the parameters with the greatest upper confidence bound on the gain at this time and score."""
        import numpy as np

        rng = np.random.default_rng(self._rng.getrandbits(32))
        low = np.array([bounds[0] for bounds in self._bounds.values()])
        high = np.array([bounds[1] for bounds in self._bounds.values()])
        cube = rng.random((_CANDIDATES, len(low)))
        if len(self._rows) < 2:
            return [float(each) for each in low + (high - low) * cube[0]]
        times = np.array([row[0] for row in self._rows])
        scores = np.array([row[1] for row in self._rows])
        gains = np.array([row[3] for row in self._rows])
        span = max(float(scores.max() - scores.min()), 1e-12)
        points = np.column_stack(
            [
                (scores - scores.min()) / span,
                (np.array([row[2] for row in self._rows]) - low) / (high - low),
            ]
        )
        asked = np.column_stack([np.full(_CANDIDATES, (score - scores.min()) / span), cube])
        mean, deviation = _posterior(points, times / self._interval, gains, asked, time / self._interval + 1)
        beta = 0.2 + 0.4 * np.log(len(low) * (len(self._rows) + 1))
        best = cube[int(np.argmax(mean + np.sqrt(max(float(beta), 0.0)) * deviation))]
        return [float(each) for each in low + (high - low) * best]


def _posterior(points: Any, times: Any, gains: Any, asked: Any, now: float) -> tuple[Any, Any]:
    """Return mean and deviation of a Gaussian process whose kernel forgets with time, of the likeliest length."""
    import numpy as np

    scale = max(float(gains.std()), 1e-12)
    values = (gains - gains.mean()) / scale
    apart = ((points[:, None] - points[None]) ** 2).sum(-1)
    forget = 0.9 ** (np.abs(times[:, None] - times[None]) / 2)
    best: tuple[float, float, Any, Any] | None = None
    for length in _LENGTHS:
        kernel = np.exp(-apart / (2 * length**2)) * forget + 1e-2 * np.eye(len(values))
        lower = np.linalg.cholesky(kernel)
        weights = np.linalg.solve(lower.T, np.linalg.solve(lower, values))
        likelihood = -0.5 * float(values @ weights) - float(np.log(np.diag(lower)).sum())
        if best is None or likelihood > best[0]:
            best = likelihood, length, lower, weights
    assert best is not None
    _, length, lower, weights = best
    cross = np.exp(-((asked[:, None] - points[None]) ** 2).sum(-1) / (2 * length**2))
    cross = cross * 0.9 ** (np.abs(now - times) / 2)
    mean = cross @ weights
    part = np.linalg.solve(lower, cross.T)
    return mean * scale, np.sqrt(np.maximum(1 - (part**2).sum(0), 1e-12)) * scale
