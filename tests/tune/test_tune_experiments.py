"""The older ways to run: Experiment, run_experiments, run with all of its arguments; and what a trial tells."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from shoal import tune
from shoal.errors import ConfigError
from shoal.tune.errors import TuneError
from shoal.tune.experiment.trial import ExportFormat, Trial
from shoal.tune.impl.placeholder import create_resolvers_map, inject_placeholders, resolve_placeholders
from shoal.tune.search.variant_generator import generate_variants

pytestmark = pytest.mark.usefixtures("session")


def _tells(config: dict[str, Any]) -> None:
    sys.stdout.write(f"x is {config['x']}\n")
    tune.report({"loss": config["x"]})
    if config["x"] == 3:
        raise ValueError("three is too many")


class _Counts(tune.Trainable):
    def setup(self, config: dict[str, Any]) -> None:
        self.at = 0

    def step(self) -> dict[str, Any]:
        self.at += 1
        return {"at": self.at, "done": self.at == 3}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"at": self.at}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.at = checkpoint["at"]

    def _export_model(self, export_formats: list[str], export_dir: str) -> dict[str, Any]:
        for name in export_formats:
            Path(export_dir, f"model.{name}").write_text(str(self.at))
        return {}


def test_what_a_trial_prints_and_fails_with_is_in_its_folder(tmp_path: Path) -> None:
    space = {"x": tune.grid_search([1, 2, 3])}
    analysis = tune.run(
        _tells,
        config=space,
        storage_path=str(tmp_path),
        name="prints",
        log_to_file=("out", "err"),
        raise_on_failed_trial=False,
        verbose=0,
    )
    for trial in analysis.trials:
        assert trial.local_path is not None
        assert Path(trial.local_path, "out").read_text() == f"x is {trial.config['x']}\n"
    good, _, bad = analysis.trials
    assert good.error_file is None
    assert "three is too many" in Path(str(bad.error_file)).read_text()
    assert "three is too many" in Path(str(bad.local_path), "err").read_text()
    error = pickle.loads(Path(str(bad.pickled_error_file)).read_bytes())
    assert isinstance(error, ValueError)
    assert isinstance(bad.get_error(), ValueError)
    with pytest.raises(ConfigError, match="log_to_file must be"):
        tune.run(_tells, log_to_file=3)
    with pytest.raises(TuneError, match=r"(?s)1 of 3 trials failed.*three is too many"):
        tune.run(_tells, config=space, storage_path=str(tmp_path), verbose=0)


def test_what_is_printed_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shoal.tune import output

    monkeypatch.setattr(output, "_MOST_BYTES", 100)
    with output.output_to(str(tmp_path), ("both", "both")):
        for _ in range(50):
            sys.stdout.write("0123456789\n")
    text = (tmp_path / "both").read_text()
    assert text.startswith("0123456789\n0123456789\n")
    assert len(text) < 200
    assert "the rest is left out" in text


def test_models_are_exported_and_trials_begin_from_a_checkpoint(tmp_path: Path) -> None:
    options: dict[str, Any] = {"storage_path": str(tmp_path), "verbose": 0}
    (trial,) = tune.run(_Counts, name="a", checkpoint_freq=1, export_formats=["ONNX "], **options).trials
    assert Path(str(trial.local_path), "export", "model.onnx").read_text() == "3"
    assert trial.checkpoint is not None
    assert trial.checkpoint_freq == 1
    assert not trial.checkpoint_at_end
    start = os.path.join(str(trial.local_path), trial.checkpoint.name)
    (again,) = tune.run(_Counts, name="b", restore=start, stop={"at": 5}, **options).trials
    assert (again.last_result["at"], again.iteration) == (5, 5)
    with pytest.raises(ConfigError, match="an export format is one of checkpoint, model, onnx, h5"):
        tune.run(_Counts, export_formats=["pdf"], **options)
    with pytest.raises(ConfigError, match="not both"):
        tune.run(_Counts, checkpoint_freq=1, checkpoint_config=tune.CheckpointConfig(), **options)
    formats = [" H5"]
    ExportFormat.validate(formats)
    assert formats == ["h5"]


@pytest.mark.parametrize("concurrent", [True, False])
def test_several_experiments_run(tmp_path: Path, concurrent: bool) -> None:
    one = tune.Experiment(
        "one",
        _tells,
        config={"x": tune.grid_search([1, 2])},
        storage_path=str(tmp_path),
        resources_per_trial={"cpu": 1},
    )
    two = tune.Experiment("two", _Counts, num_samples=2, stop={"at": 2}, storage_path=str(tmp_path))
    trials = tune.run_experiments([one, two], verbose=0, concurrent=concurrent)
    assert [trial.last_result.get("loss") or trial.last_result["at"] for trial in trials] == [1, 2, 2, 2]
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}
    assert one.local_path == one.remote_path == str(tmp_path / "one")
    assert (one.run_identifier, two.run_identifier) == ("_tells", "_Counts")
    assert one.stopper is None
    assert two.stopper is not None
    assert two.stopper("t", {"at": 2})
    assert two.public_spec == {"stop": {"at": 2}, "num_samples": 2, "time_budget_s": None}
    found = tune.run_experiments(
        {"three": {"run": "_Counts", "storage_path": str(tmp_path)}}, verbose=0, resume="AUTO"
    )
    assert [trial.last_result["at"] for trial in found] == [3]
    assert tune.run(two, name="ignored", verbose=0).experiment_path == str(tmp_path / "two")


def test_an_experiment_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no 'run'"):
        tune.run_experiments({"x": {"config": {}}})
    with pytest.raises(ConfigError, match="unexpected keyword argument 'spaace'"):
        tune.run_experiments({"x": {"run": _tells, "spaace": {}}})
    with pytest.raises(ConfigError, match="experiments must be"):
        tune.run_experiments(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no trainable is named"):
        tune.Experiment("x", "nothing")


def test_a_trial_says_what_it_is_and_how_it_stands(tmp_path: Path) -> None:
    (trial,) = tune.run(
        _Counts,
        config={"f": len},
        storage_path=str(tmp_path),
        name="a",
        checkpoint_at_end=True,
        stop={"at": 9},
        verbose=0,
    ).trials
    what, stands = trial.get_json_state()
    again = Trial.from_json_state(what)
    again.restore_run_metadata(stands)
    assert (again.trial_id, again.config, again.status) == (trial.trial_id, {"f": len}, "TERMINATED")
    assert again.last_result == trial.last_result
    assert again.checkpoint == trial.checkpoint
    assert Trial.from_json_state(what, stub=True).config["f"]["_type"] == "CLOUDPICKLE_FALLBACK"
    assert trial.has_reported_at_least_once
    assert trial.should_stop({"at": 9})
    assert not trial.should_stop({"at": 8})
    assert trial.should_checkpoint()
    assert not trial.should_recover()
    assert trial.get_trainable_cls() is _Counts
    assert trial.get_ray_actor_ip() == trial.last_result["hostname"]
    assert (trial.experiment_dir_name, trial.local_experiment_path) == ("a", str(tmp_path / "a"))
    fresh = trial.reset()
    assert (fresh.status, fresh.last_result, fresh.trial_id) == ("PENDING", {}, trial.trial_id)
    fresh.update_resources({"CPU": 3})
    assert fresh.placement_group_factory.head_cpus == 3
    fresh.set_status(Trial.RUNNING)
    with pytest.raises(ValueError, match="is running"):
        fresh.update_resources({"CPU": 1})
    with pytest.raises(ConfigError, match="of no experiment"):
        _ = again.local_path
    assert len({Trial.generate_id() for _ in range(100)}) == 100


def test_objects_of_a_space_are_put_aside_and_back() -> None:
    one, two, three = object(), object(), object()
    space = {
        "data": one,
        "pair": tune.grid_search([(two, 1), (three, 2)]),
        "width": tune.sample_from(lambda config: (config["lr"], config["data"] is one)),
        "lr": tune.choice([0.5]),
    }
    kept = create_resolvers_map()
    seen = inject_placeholders(space, kept)
    found = []
    for _, config in generate_variants(seen, random_state=1):
        assert not any(value is one for value in config.values())
        resolve_placeholders(config, kept)
        found.append(config)
    assert [config["pair"] for config in found] == [(two, 1), (three, 2)]
    assert all(config["data"] is one and config["width"] == (0.5, True) for config in found)
