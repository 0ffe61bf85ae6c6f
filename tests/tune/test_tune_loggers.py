"""TensorBoard's, MLflow's and Weights & Biases' files of trials, and what reporters show."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shoal import tune
from shoal.errors import ConfigError
from shoal.tune.callback import Callback, CallbackList
from shoal.tune.experiment.trial import Trial
from shoal.tune.logger import JsonLoggerCallback
from shoal.tune.logger.trackers import MLflowLoggerCallback, TBXLoggerCallback
from shoal.tune.progress_reporter import CLIReporter, JupyterNotebookReporter, TrialProgressCallback
from shoal.tune.tools.log import disable_ipython, in_notebook


def _train(config: dict[str, Any]) -> None:
    for step in range(3):
        tune.report({"loss": config["x"] + step, "deep": {"size": step}})
    if config["x"] == 2:
        raise ValueError("two")


def _run(run_config: Any, callback: Any) -> Any:
    return tune.Tuner(
        _train,
        param_space={"x": tune.grid_search([1, 2]), "n": None},
        run_config=run_config(callbacks=[callback]),
    ).fit()


@pytest.mark.usefixtures("session")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_has_the_reports_and_the_parameters(run_config: Any) -> None:
    tensorboard = pytest.importorskip("tensorboardX")
    from tensorboardX.proto import event_pb2

    assert tensorboard
    results = _run(run_config, TBXLoggerCallback())
    for result in results:
        values: dict[str, list[float]] = {}
        tables = 0
        for path in Path(result.path).glob("events*"):
            data = path.read_bytes()
            while data:
                size = int.from_bytes(data[:8], "little")
                event = event_pb2.Event.FromString(data[12 : 12 + size])
                data = data[12 + size + 4 :]
                for value in event.summary.value:
                    if value.metadata.plugin_data.plugin_name == "hparams":
                        tables += 1
                    else:
                        values.setdefault(value.tag, []).append(value.simple_value)
        assert values["loss"] == [result.config["x"] + step for step in range(3)]
        assert values["deep/size"] == [0, 1, 2]
        assert tables >= 2


@pytest.mark.usefixtures("session")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("late", [False, True])
def test_mlflow_has_a_run_for_each_trial(run_config: Any, tmp_path: Path, late: bool) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow.tracking import MlflowClient

    where = f"sqlite:///{tmp_path}/runs.db"
    callback = MLflowLoggerCallback(
        where, experiment_name="digits", tags={"who": "me"}, save_artifact=late, log_params_on_trial_end=late
    )
    os.environ["MLFLOW_ARTIFACT_ROOT"] = str(tmp_path)
    with contextlib.chdir(tmp_path):
        _run(run_config, callback)
        client = MlflowClient(where)
        experiment = client.get_experiment_by_name("digits")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.params["x"] for run in runs) == ["1", "2"]
    assert {run.data.params["x"]: run.info.status for run in runs} == {"1": "FINISHED", "2": "FAILED"}
    assert all(run.data.tags["who"] == "me" for run in runs)
    history = client.get_metric_history(runs[0].info.run_id, "loss")
    assert [each.value for each in history] == [int(runs[0].data.params["x"]) + step for step in range(3)]


_WANDB = """
import os
import sys

import shoal
from shoal import tune
from shoal.tune.logger.trackers import WandbLoggerCallback

def train(config):
    tune.report({"loss": config["x"], "secret": 1})

if __name__ == "__main__":
    folder = sys.argv[1]
    shoal.init(num_cpus=2)
    callback = WandbLoggerCallback(
        "digits", api_key_file=folder + "/key", excludes=["secret"], log_config=True, mode="offline", dir=folder
    )
    run_config = tune.RunConfig(name="wandb", storage_path=folder, callbacks=[callback], verbose=0)
    tune.Tuner(train, param_space={"x": tune.grid_search([1, 2])}, run_config=run_config).fit()
    print(os.environ["WANDB_API_KEY"])
"""


@pytest.mark.slow
def test_weights_and_biases_has_a_run_for_each_trial(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    # In a process of its own: wandb starts another, which it ends when its program does.
    (tmp_path / "program.py").write_text(_WANDB)
    (tmp_path / "key").write_text("0123456789012345678901234567890123456789\n")
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "0123456789012345678901234567890123456789" in done.stdout
    runs = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(runs) == 2
    for run in runs:
        data = run.read_bytes()
        assert b"loss" in data
        assert b"secret" not in data


@pytest.mark.usefixtures("session")
def test_configurations_are_written_as_text_and_pickled(run_config: Any) -> None:
    results = _run(run_config, JsonLoggerCallback())
    for result in results:
        assert json.loads(Path(result.path, "params.json").read_text()) == result.config
        assert pickle.loads(Path(result.path, "params.pkl").read_bytes()) == result.config


def _trials() -> list[Trial]:
    made = []
    for number, status in enumerate(("TERMINATED", "ERROR", "RUNNING")):
        trial = Trial(f"t{number}", number, {"lr": 0.1 * number}, status=status, error="ValueError: no")
        trial.update_last_result({"loss": 1.0 - number / 4, "curve": [1, 2], "training_iteration": 3})
        made.append(trial)
    return made


def test_a_notebook_shows_tables(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("IPython")
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        assert not in_notebook()
        shell.kernel = object()  # as a notebook's has
        assert in_notebook()
        reporter = JupyterNotebookReporter(metric="loss", mode="min", parameter_columns={"lr": "rate"})
        assert reporter.should_report(_trials())
        html = reporter.html(_trials())
        assert "<th>rate</th>" in html
        assert "<td>0.75</td>" in html
        assert "best loss 0.5 of t2" in html
        assert "curve" not in html  # no column of a few letters
        reporter.report(_trials(), done=True)
        TrialProgressCallback(progress_metrics=["loss"]).log_result(_trials()[0], {"loss": 0.25})
        assert "HTML object" in capsys.readouterr().out
        disable_ipython()
        assert not in_notebook()
    finally:
        InteractiveShell.clear_instance()
        from shoal.tune.tools import log

        log._notebook = True


def test_a_reporter_tells_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = CLIReporter(metric="loss", mode="max")
    lines: queue.Queue[str] = queue.Queue()
    reporter.output_queue = lines
    assert reporter.output_queue is lines
    assert reporter.should_report(_trials())
    reporter.report(_trials(), done=True)
    assert "3 trials (1 RUNNING, 1 ERROR, 1 TERMINATED)" in lines.get_nowait()
    assert lines.get_nowait() == "t1 failed: ValueError: no"
    assert capsys.readouterr().out == ""
    assert not reporter.set_search_properties("acc", "max")
    reporter.set_total_samples(9)
    reporter.set_start_time(0)
    assert "3 of 9 trials" in reporter.summary(_trials())


@pytest.mark.usefixtures("session")
def test_each_report_is_a_line(run_config: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _run(run_config, TrialProgressCallback("loss"))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("trial ")]
    assert len(lines) == 8
    assert sum("reports, " in line for line in lines) >= 6
    assert any(line.endswith("has ended, 3 reports: loss 3") for line in lines)
    assert any(line.endswith("failed, 3 reports: loss 4") for line in lines)


def test_callbacks_are_stored_and_go_on(tmp_path: Path) -> None:
    class Counts(Callback):
        count = 0

        def get_state(self) -> dict[str, Any]:
            return {"count": self.count}

        def set_state(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    one, two = Counts(), Counts()
    one.count = 7
    assert not CallbackList([two]).can_restore(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="has no file callback-states"):
        CallbackList([two]).restore_from_dir(str(tmp_path))
    CallbackList([one]).save_to_dir(str(tmp_path), "first")
    restored = CallbackList([two])
    assert restored.can_restore(str(tmp_path))
    restored.restore_from_dir(str(tmp_path))
    assert (restored[0].count, len(restored)) == (7, 1)


def test_resources_are_read_from_json() -> None:
    from shoal.tune.resources import json_to_resources

    found = json_to_resources('{"cpu": 2, "custom_resources": {"disk": 1}}')
    assert found is not None
    assert found.required_resources == {"CPU": 2, "disk": 1}
    assert json_to_resources(None) is None
    with pytest.raises(ConfigError, match="must be JSON"):
        json_to_resources("{cpu")
