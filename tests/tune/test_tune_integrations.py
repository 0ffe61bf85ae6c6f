"""Callbacks of other libraries in trials: each trains a small model, for real."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import pytest

from shoal import tune
from shoal.errors import ConfigError
from shoal.train.errors import SessionMisuseError

pytestmark = [pytest.mark.usefixtures("session"), pytest.mark.filterwarnings("ignore")]


def _one(trainable: Any, run_config: Any) -> Any:
    (result,) = list(tune.Tuner(trainable, run_config=run_config()).fit())
    assert result.error is None, result.error
    return result


def test_xgboost(run_config: Any) -> None:
    pytest.importorskip("xgboost")

    def train(config: dict[str, Any]) -> None:
        import numpy as np
        import xgboost

        from shoal.tune.integration.xgboost import TuneReportCheckpointCallback

        x = np.random.default_rng(1).random((100, 3))
        data = xgboost.DMatrix(x, label=(x[:, 0] > 0.5).astype(int))
        xgboost.train(
            {"objective": "binary:logistic", "nthread": 1},
            data,
            num_boost_round=4,
            evals=[(data, "train")],
            callbacks=[TuneReportCheckpointCallback({"loss": "train-logloss"}, frequency=2)],
            verbose_eval=False,
        )

    result = _one(train, run_config)
    from shoal.tune.integration.xgboost import TuneReportCheckpointCallback

    assert result.metrics_dataframe["loss"].is_monotonic_decreasing
    assert result.metrics["training_iteration"] == 4
    assert [metrics["training_iteration"] for _, metrics in result.best_checkpoints] == [2, 4]
    assert TuneReportCheckpointCallback.get_model(result.checkpoint).num_boosted_rounds() == 4


def test_lightgbm(run_config: Any) -> None:
    pytest.importorskip("lightgbm")

    def train(config: dict[str, Any]) -> None:
        import lightgbm
        import numpy as np

        from shoal.tune.integration.lightgbm import TuneReportCheckpointCallback

        x = np.random.default_rng(1).random((100, 3))
        data = lightgbm.Dataset(x, label=(x[:, 0] > 0.5).astype(int))
        lightgbm.train(
            {"objective": "binary", "verbose": -1, "num_threads": 1},
            data,
            num_boost_round=3,
            valid_sets=[data],
            valid_names=["train"],
            callbacks=[TuneReportCheckpointCallback()],
        )

    result = _one(train, run_config)
    from shoal.tune.integration.lightgbm import TuneReportCheckpointCallback

    assert result.metrics["train-binary_logloss"] < 0.7
    assert TuneReportCheckpointCallback.get_model(result.checkpoint).num_trees() == 3


def test_keras(run_config: Any) -> None:
    if find_spec("keras") is None or find_spec("torch") is None:
        pytest.skip("needs keras and torch")

    def train(config: dict[str, Any]) -> None:
        import numpy as np

        from shoal.tune.integration.keras import TuneReportCheckpointCallback  # sets the backend

        import keras  # isort: skip

        x = np.random.default_rng(1).random((32, 3))
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
        model.compile(loss="mse", optimizer="sgd")
        model.fit(
            x,
            x.sum(1),
            epochs=2,
            verbose=0,
            callbacks=[TuneReportCheckpointCallback(metrics={"mse": "loss"})],
        )

    result = _one(train, run_config)
    assert result.metrics["training_iteration"] == 2
    assert result.metrics["mse"] > 0
    with result.checkpoint.as_directory() as folder:
        assert os.listdir(folder) == ["model.keras"]


def test_lightning(run_config: Any) -> None:
    pytest.importorskip("lightning")

    def train(config: dict[str, Any]) -> None:
        import lightning
        import torch
        from torch.utils.data import DataLoader, TensorDataset

        from shoal.tune.integration.pytorch_lightning import TuneReportCheckpointCallback

        class Line(lightning.LightningModule):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Linear(2, 1)

            def training_step(self, batch: Any, index: int) -> Any:
                return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

            def validation_step(self, batch: Any, index: int) -> None:
                self.log("val_loss", torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), 0.1)

        x = torch.rand(16, 2)
        data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
        lightning.Trainer(
            max_epochs=3,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[TuneReportCheckpointCallback({"loss": "val_loss"}, filename="line.ckpt")],
        ).fit(Line(), data, data)

    result = _one(train, run_config)
    assert result.metrics["training_iteration"] == 3  # not what was validated before training
    with result.checkpoint.as_directory() as folder:
        assert os.listdir(folder) == ["line.ckpt"]
    from shoal.tune.integration.pytorch_lightning import TuneCallback

    with pytest.raises(ConfigError, match="Lightning has no event noon; it has after_backward"):
        TuneCallback(on="noon")


def test_a_trainer_in_a_trials_function(run_config: Any) -> None:
    from shoal.tune.integration.ray_train import TuneReportCallback

    def train(config: dict[str, Any]) -> None:
        from shoal import train as trains
        from shoal.train.trainer import DataParallelTrainer

        def loop() -> None:
            for step in range(3):
                trains.report({"loss": 1 / (step + 1)})

        DataParallelTrainer(
            loop,
            scaling_config=trains.ScalingConfig(num_workers=1),
            run_config=trains.RunConfig(
                storage_path=os.getcwd(), callbacks=[TuneReportCallback()], verbose=0
            ),
        ).fit()

    result = _one(train, run_config)
    assert result.metrics["training_iteration"] == 3
    assert result.metrics["loss"] == pytest.approx(1 / 3)
    with pytest.raises(SessionMisuseError, match="works in a trial"):
        TuneReportCallback()
