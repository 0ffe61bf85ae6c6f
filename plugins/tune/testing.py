"""Contracts of searchers and schedulers: subclass one for a plugin, and pytest runs it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shoal.tune.experiment.trial import Trial
from shoal.tune.schedulers.trial_scheduler import TrialScheduler
from shoal.tune.search.sample import choice, lograndint, loguniform, quniform, randint, uniform
from shoal.tune.search.searcher import Searcher

__all__ = ["SchedulerContract", "SearcherContract"]

NUMBERS: Mapping[str, Any] = {
    "x": uniform(-2.0, 2.0),
    "deep": {"rate": loguniform(1e-4, 1.0)},
    "fixed": 7,
}
EVERYTHING: Mapping[str, Any] = {
    **NUMBERS,
    "n": randint(1, 10),
    "size": lograndint(1, 1000),
    "step": quniform(0.0, 1.0, 0.25),
    "kind": choice(["a", "b", "c"]),
    "odd": choice([(1, 2), None, "z"]),
}


class SearcherContract:
    """What every searcher keeps. Override `make`; `numbers_only` for one that takes no choices and whole numbers."""

    numbers_only = False
    learns = True  # whether it does better than chance on a bowl

    def make(self, **options: Any) -> Searcher:
        """Return a new searcher with a seed; `options` are `points_to_evaluate` or nothing."""
        raise NotImplementedError("return a new searcher")

    def begun(self, **options: Any) -> Searcher:
        """Return a searcher that has the space, the metric and the mode."""
        searcher = self.make(**options)
        taken = searcher.set_search_properties("loss", "min", dict(self.space), num_samples=40, seed=3)
        assert taken
        return searcher

    @property
    def space(self) -> Mapping[str, Any]:
        """The space that is searched."""
        return NUMBERS if self.numbers_only else EVERYTHING

    def valid(self, config: Mapping[str, Any]) -> None:
        """Assert that a configuration is in the space."""
        assert -2 <= config["x"] <= 2
        assert 1e-4 * (1 - 1e-9) <= config["deep"]["rate"] <= 1 + 1e-9
        if not self.numbers_only:
            assert config["n"] in range(1, 10)
            assert isinstance(config["n"], int)
            assert config["size"] in range(1, 1000)
            assert math.isclose(config["step"] / 0.25, round(config["step"] / 0.25))
            assert config["kind"] in ("a", "b", "c")
            assert config["odd"] in ((1, 2), None, "z")

    @staticmethod
    def loss(config: Mapping[str, Any]) -> float:
        """A bowl."""
        return float((config["x"] - 1) ** 2 + (math.log10(config["deep"]["rate"]) + 2) ** 2)

    def test_what_it_suggests_is_in_the_space(self) -> None:
        """Configurations are nested as the space is, and within its bounds."""
        searcher = self.begun()
        for number in range(12):
            config = searcher.suggest(f"t{number}")
            assert isinstance(config, Mapping)
            self.valid(config)
            searcher.on_trial_complete(f"t{number}", {"loss": self.loss(config), "training_iteration": 1})

    def test_trials_that_fail_or_report_no_number_do_no_harm(self) -> None:
        """An error, a report without the metric, and NaN are left out."""
        searcher = self.begun()
        ends: list[dict[str, Any]] = [
            {"error": True},
            {"result": {"other": 1}},
            {"result": {"loss": math.nan}},
            {"result": None},
        ]
        for number, end in enumerate(ends):
            assert searcher.suggest(f"t{number}") is not None
            searcher.on_trial_complete(f"t{number}", **end)
        searcher.on_trial_complete("never seen", {"loss": 1.0})
        self.valid(searcher.suggest("next"))

    def test_it_goes_on_from_what_it_stored(self, tmp_path: Path) -> None:
        """A searcher that is restored knows what the first one knew: both suggest the same, or it takes results."""
        searcher = self.begun()
        live = {}
        for number in range(8):
            live[f"t{number}"] = searcher.suggest(f"t{number}")
            if number < 6:
                searcher.on_trial_complete(
                    f"t{number}", {"loss": self.loss(live[f"t{number}"]), "training_iteration": 1}
                )
        searcher.save(str(tmp_path / "state"))
        again = self.begun()
        again.restore(str(tmp_path / "state"))
        again.on_trial_complete("t6", {"loss": self.loss(live["t6"]), "training_iteration": 1})
        self.valid(again.suggest("t8"))

    def test_points_come_first(self) -> None:
        """`points_to_evaluate` are suggested before anything else."""
        rng = random.Random(1)
        point: dict[str, Any] = {"x": 0.5, "deep": {"rate": 0.25}}
        if not self.numbers_only:
            point |= {"n": 3, "size": 17, "step": 0.5, "kind": "b", "odd": rng.choice(["z", None])}
        searcher = self.begun(points_to_evaluate=[point])
        found = searcher.suggest("t0")
        assert found["x"] == pytest.approx(0.5)
        assert found["deep"]["rate"] == pytest.approx(0.25)
        assert all(found[name] == point[name] for name in point if name not in ("x", "deep"))

    def test_it_learns(self) -> None:
        """The last of forty are better than the first, on a bowl."""
        if not self.learns:
            pytest.skip("this searcher does not learn")
        searcher = self.begun()
        losses = []
        for number in range(40):
            config = searcher.suggest(f"t{number}")
            losses.append(self.loss(config))
            searcher.on_trial_complete(f"t{number}", {"loss": losses[-1], "training_iteration": 1})
        assert sum(sorted(losses[-12:])[:6]) < sum(sorted(losses[:12])[:6])


class SchedulerContract:
    """What every scheduler keeps. Override `make`."""

    def make(self) -> TrialScheduler:
        """Return a new scheduler of the metric "score", more of which is better, by "training_iteration"."""
        raise NotImplementedError("return a new scheduler")

    def test_an_experiment_ends(self) -> None:
        """Trials that end by themselves all end, with one process and with several."""
        from shoal.tune.controller.events import Answer, Left, Over, Reported, Saved
        from shoal.tune.controller.machine import Controller, Setup
        from shoal.tune.search.basic_variant import BasicVariantGenerator

        for places in (1, 3):
            source = BasicVariantGenerator(random_state=1)
            source.set_search_properties("score", "max", {"x": uniform(0, 1)}, num_samples=7)
            machine = Controller(
                Setup(
                    scheduler=self.make(),
                    source=source,
                    names=lambda trial: ("", trial.trial_id),
                )
            )
            machine.nodes_have = {"CPU": float(places)}
            running: list[Trial] = []
            for _ in range(20_000):
                while len(running) < places and (trial := machine.next_trial()) is not None:
                    running.append(trial)
                machine.take()
                if machine.finished:
                    break
                assert running, "trials wait, and the scheduler starts none"
                trial = running.pop(0)
                if trial.iteration >= 20:
                    machine.handle(Left(trial.trial_id))
                    continue
                score = trial.config["x"] * (trial.iteration + 1)
                goes_on = True
                for action in machine.handle(Reported(trial.trial_id, {"score": score}, 0.0, 1.0)):
                    assert not (isinstance(action, Over) and action.error), action
                    if isinstance(action, Answer) and action.trial is trial:
                        if action.save:
                            machine.handle(Saved(trial.trial_id, f"checkpoint_{trial.next_index:06d}"))
                        goes_on = action.decision == TrialScheduler.CONTINUE
                if goes_on:
                    running.append(trial)
                else:
                    machine.handle(Left(trial.trial_id))
            assert machine.finished
            assert all(trial.is_finished() for trial in machine.trials)
            assert len(machine.trials) == 7

    def test_it_can_be_stored(self, tmp_path: Path) -> None:
        """Its state goes to a file and back."""
        scheduler = self.make()
        scheduler.save(str(tmp_path / "state"))
        again = self.make()
        again.restore(str(tmp_path / "state"))
        assert again.debug_string() == scheduler.debug_string()
