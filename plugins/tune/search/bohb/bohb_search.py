"""BOHB (Falkner et al., 2018): kernel densities of the good and the bad, at the largest budget with enough points."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.search.ask_tell import AskTellSearcher
from shoal.tune.search.sample import choice, lograndint, loguniform, randint, uniform
from shoal.tune.search.spaces import flat_space, need

__all__ = ["TuneBOHB"]

_DEFAULTS: Mapping[str, float] = {
    "top_n_percent": 15,
    "num_samples": 64,
    "random_fraction": 1 / 3,
    "bandwidth_factor": 3,
    "min_bandwidth": 1e-3,
    "min_points_in_model": 0,  # parameters + 1
}


class TuneBOHB(AskTellSearcher):
    """Draws configurations where good ones are dense and bad ones are not. Use it with HyperBandForBOHB.

    Parameters: `space` is a space of ours or a ConfigSpace (which needs ConfigSpace 1.2 or later, and no conditions).
    `bohb_config` sets "top_n_percent" (which count as good), "num_samples" (candidates for one), "random_fraction",
    "bandwidth_factor", "min_bandwidth" and "min_points_in_model". `seed` makes the choices again. `max_concurrent` is
    how many trials may be under way (0: no bound).
    Raises ConfigError.

    Example: `TuneConfig(search_alg=TuneBOHB(), scheduler=HyperBandForBOHB(), metric="loss", mode="min")`
    """

    def __init__(
        self,
        space: Any = None,
        bohb_config: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        seed: int | None = None,
        max_concurrent: int = 0,
    ) -> None:
        # A ConfigSpace is a mapping as well, so that its class has to be asked for by name: it may not be installed.
        if space is not None and (
            not isinstance(space, Mapping) or type(space).__name__ == "ConfigurationSpace"
        ):
            space = _of_configspace(space)
        super().__init__(space, metric, mode, points_to_evaluate, max_concurrent)
        unknown = set(bohb_config or {}) - set(_DEFAULTS)
        if unknown:
            raise ConfigError(
                f"bohb_config has no {', '.join(sorted(unknown))}; it has {', '.join(_DEFAULTS)}"
            )
        self._options = {**_DEFAULTS, **(bohb_config or {})}
        self._seed = seed
        self._rng = random.Random(seed)
        self.points: dict[float, dict[str, tuple[list[float], float]]] = {}  # by budget, then trial
        self.paused: set[str] = set()
        self._made = 0

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        """Take what was not given before, and the experiment's seed."""
        if spec.get("seed") is not None:
            self._rng.seed(spec["seed"])
        return super().set_search_properties(metric, mode, config, **spec)

    def on_pause(self, trial_id: str) -> None:
        """Know that a trial is paused."""
        self.paused.add(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Know that a trial goes on."""
        self.paused.discard(trial_id)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Learn what a trial has at a milestone of its bracket."""
        self._learn(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn what a trial came to."""
        if result is not None and not error:
            self._learn(trial_id, result, last=True)
        self._live.pop(trial_id, None)

    def _learn(self, trial_id: str, result: Mapping[str, Any], last: bool = False) -> None:
        told = result.get("hyperband_info")
        if (told is None and not last) or trial_id not in self._live or self._metric not in result:
            return
        value = float(result[self._metric])
        loss = value if self._mode == "min" else -value
        if math.isnan(loss):
            loss = math.inf
        budget = float(told["budget"] if told else result.get("training_iteration", 1))
        _, values = self._live[trial_id]
        point = [each.to_unit(values[each.name]) for each in self._parameters]
        self.points.setdefault(budget, {})[trial_id] = point, loss

    @staticmethod
    def convert_search_space(spec: Mapping[str, Any]) -> Any:
        """Return a space as a ConfigSpace, which TuneBOHB takes too. Raises ConfigError without that package.

        Example: `TuneBOHB.convert_search_space({"lr": tune.loguniform(1e-4, 1)})`
        """
        library = need("ConfigSpace", "ConfigSpace", ">=1.2", "TuneBOHB")
        made = library.ConfigurationSpace()
        for each in flat_space(spec, "TuneBOHB"):
            if each.kind == "choice":
                made.add(library.CategoricalHyperparameter(each.name, list(each.choices)))
            else:
                bounds = (each.lower, each.upper)
                kind = (
                    library.UniformIntegerHyperparameter
                    if each.kind == "int"
                    else library.UniformFloatHyperparameter
                )
                made.add(kind(each.name, *bounds, log=each.log))
        return made

    def _begin(self) -> None:
        self._rng = random.Random(self._seed)

    def _tell(self, token: Any, values: dict[str, Any], loss: float) -> None:
        self._made += 1
        point = [each.to_unit(values[each.name]) for each in self._parameters]
        self.points.setdefault(1.0, {})[f"past {self._made}"] = point, loss

    def _ask(self) -> tuple[Any, dict[str, Any]]:
        unit = None
        if self._rng.random() >= self._options["random_fraction"]:
            unit = self._from_model()
        if unit is None:
            unit = [self._rng.random() for _ in self._parameters]
            return None, {
                each.name: each.from_unit(at) for each, at in zip(self._parameters, unit, strict=True)
            }
        values = {}
        for each, at in zip(self._parameters, unit, strict=True):
            values[each.name] = (
                each.choices[round(at * (len(each.choices) - 1))]
                if each.kind == "choice"
                else each.from_unit(at)
            )
        return None, values

    def _from_model(self) -> list[float] | None:
        """Return the candidate with the greatest ratio of the densities, None while there are too few points."""
        count = len(self._parameters)
        least = max(int(self._options["min_points_in_model"]), count + 1)
        budgets = [budget for budget, points in self.points.items() if len(points) >= least + 2]
        if not budgets:
            return None
        ranked = sorted(self.points[max(budgets)].values(), key=lambda each: each[1])
        good_count = max(least, int(self._options["top_n_percent"] * len(ranked) / 100))
        bad_count = max(least, len(ranked) - good_count)
        good = [point for point, _ in ranked[:good_count]]
        bad = [point for point, _ in ranked[-bad_count:]]
        widths, bad_widths = self._bandwidths(good), self._bandwidths(bad)
        best: tuple[float, list[float]] | None = None
        factor = self._options["bandwidth_factor"]
        for _ in range(int(self._options["num_samples"])):
            centre = self._rng.choice(good)
            candidate = [self._near(index, at, widths[index] * factor) for index, at in enumerate(centre)]
            ratio = self._density(candidate, good, widths) / max(
                self._density(candidate, bad, bad_widths), 1e-32
            )
            if best is None or ratio > best[0]:
                best = ratio, candidate
        assert best is not None
        return best[1]

    def _near(self, index: int, at: float, width: float) -> float:
        parameter = self._parameters[index]
        if parameter.kind == "choice":
            if self._rng.random() < width:
                return self._rng.randrange(len(parameter.choices)) / max(len(parameter.choices) - 1, 1)
            return at
        for _ in range(16):
            found = self._rng.gauss(at, width)
            if 0 <= found <= 1:
                return found
        return at

    def _bandwidths(self, points: list[list[float]]) -> list[float]:
        """Scott's rule, in each dimension."""
        count, dimensions = len(points), len(self._parameters)
        scale = count ** (-1 / (4 + dimensions))
        found = []
        for column in zip(*points, strict=True):
            mean = sum(column) / count
            deviation = math.sqrt(sum((each - mean) ** 2 for each in column) / max(count - 1, 1))
            found.append(min(max(1.06 * deviation * scale, float(self._options["min_bandwidth"])), 0.9))
        return found

    def _density(self, at: list[float], points: list[list[float]], widths: list[float]) -> float:
        total = 0.0
        for point in points:
            product = 1.0
            for index, parameter in enumerate(self._parameters):
                width = widths[index]
                if parameter.kind == "choice":
                    same = abs(point[index] - at[index]) < 1e-9
                    product *= 1 - width if same else width / max(len(parameter.choices) - 1, 1)
                else:
                    product *= math.exp(-(((point[index] - at[index]) / width) ** 2) / 2) / width
            total += product
        return total / len(points)


def _of_configspace(space: Any) -> dict[str, Any]:
    """Return a ConfigSpace as a space of ours. Raises ConfigError for conditions and unknown hyperparameters."""
    if getattr(space, "conditions", None):
        raise ConfigError("TuneBOHB takes no conditions of a ConfigSpace")
    found: dict[str, Any] = {}
    for name, each in dict(space).items():
        kind = type(each).__name__
        if kind == "CategoricalHyperparameter":
            found[name] = choice(list(each.choices))
        elif kind == "OrdinalHyperparameter":
            found[name] = choice(list(each.sequence))
        elif kind == "Constant":
            found[name] = each.value
        elif kind.endswith("FloatHyperparameter") and hasattr(each, "lower"):
            found[name] = (loguniform if each.log else uniform)(float(each.lower), float(each.upper))
        elif kind.endswith("IntegerHyperparameter") and hasattr(each, "lower"):
            found[name] = (lograndint if each.log else randint)(int(each.lower), int(each.upper) + 1)
        else:
            raise ConfigError(f"TuneBOHB does not know the hyperparameter {each!r}")
    return found
