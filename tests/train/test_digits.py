"""Each trainer learns scikit-learn's digits to a stated accuracy."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shoal
import shoal.data
from shoal import train
from shoal.train import RunConfig, ScalingConfig

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session"), pytest.mark.slow]

Make = Callable[..., RunConfig]
TWO = ScalingConfig(num_workers=2)


def digits() -> tuple[Any, Any, Any, Any]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    left, right, left_y, right_y = train_test_split(x / 16.0, y, test_size=0.25, random_state=0, stratify=y)
    return left, right, left_y, right_y


def frames() -> dict[str, Any]:
    import pandas as pd

    left, right, left_y, right_y = digits()
    names = [f"p{index}" for index in range(64)]
    return {
        "train": shoal.data.from_pandas(pd.DataFrame(left, columns=names).assign(label=left_y)),
        "test": shoal.data.from_pandas(pd.DataFrame(right, columns=names).assign(label=right_y)),
    }


def network() -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))


def torch_loop(config: dict[str, Any]) -> None:
    import torch

    from shoal.train.torch import TorchCheckpoint, prepare_data_loader, prepare_model

    torch.manual_seed(0)
    left, right, left_y, right_y = digits()
    rows = torch.utils.data.TensorDataset(torch.tensor(left, dtype=torch.float32), torch.tensor(left_y))
    loader = prepare_data_loader(torch.utils.data.DataLoader(rows, batch_size=32, shuffle=True))
    model = prepare_model(network(), parallel_strategy=config["strategy"])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(15):
        for x, y in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            right_of = model(torch.tensor(right, dtype=torch.float32)).argmax(1) == torch.tensor(right_y)
        checkpoint = None
        if config["strategy"] == "ddp" and train.get_context().get_world_rank() == 0:
            checkpoint = TorchCheckpoint.from_state_dict(model.state_dict())
        train.report({"accuracy": right_of.float().mean().item()}, checkpoint=checkpoint)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_torch(run_config: Make, strategy: str) -> None:
    from shoal.train.torch import TorchCheckpoint, TorchTrainer

    run = run_config(name="torch", checkpoint_config=train.CheckpointConfig(num_to_keep=1))
    result = TorchTrainer(
        torch_loop, train_loop_config={"strategy": strategy}, scaling_config=TWO, run_config=run
    ).fit()
    assert result.metrics is not None
    assert result.metrics["accuracy"] >= 0.95
    if result.checkpoint is not None:
        import torch

        _, right, _, right_y = digits()
        model = TorchCheckpoint(result.checkpoint.path).get_model(network())
        right_of = model(torch.tensor(right, dtype=torch.float32)).argmax(1) == torch.tensor(right_y)
        assert right_of.float().mean().item() == pytest.approx(result.metrics["accuracy"], abs=1e-6)


def test_xgboost(run_config: Make) -> None:
    from shoal.train.xgboost import XGBoostTrainer

    result = XGBoostTrainer(
        params={
            "objective": "multi:softprob",
            "num_class": 10,
            "eval_metric": ["merror"],
            "max_depth": 4,
            "eta": 0.3,
        },
        label_column="label",
        num_boost_round=40,
        datasets=frames(),
        scaling_config=TWO,
        run_config=run_config(
            name="xgboost", checkpoint_config=train.CheckpointConfig(checkpoint_frequency=20)
        ),
    ).fit()
    assert result.metrics is not None
    assert result.metrics["test-merror"] <= 0.06
    assert result.metrics_dataframe is not None
    assert len(result.metrics_dataframe) == 40
    assert len(result.best_checkpoints) == 2
    assert result.checkpoint is not None
    import xgboost

    _, right, _, right_y = digits()
    names = [f"p{index}" for index in range(64)]
    model = XGBoostTrainer.get_model(result.checkpoint)
    said = model.predict(xgboost.DMatrix(right, feature_names=names)).argmax(1)
    assert (said != right_y).mean() == pytest.approx(result.metrics["test-merror"], abs=1e-6)


def test_lightgbm(run_config: Make) -> None:
    from shoal.train.lightgbm import LightGBMTrainer

    result = LightGBMTrainer(
        params={"objective": "multiclass", "num_class": 10, "metric": "multi_error", "num_leaves": 15},
        label_column="label",
        num_boost_round=40,
        datasets=frames(),
        scaling_config=TWO,
        run_config=run_config(name="lightgbm"),
    ).fit()
    assert result.metrics is not None
    assert result.metrics["test-multi_error"] <= 0.06
    assert result.checkpoint is not None
    _, right, _, right_y = digits()
    said = LightGBMTrainer.get_model(result.checkpoint).predict(right).argmax(1)
    assert (said != right_y).mean() <= 0.06


def lightning_loop(config: dict[str, Any]) -> None:
    import lightning.pytorch as pl
    import torch

    from shoal.train.lightning import DDPStrategy, LightningEnvironment, ReportCallback, prepare_trainer

    warnings.simplefilter("ignore")

    class Digits(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            return torch.nn.functional.cross_entropy(self.model(x), y)

        def validation_step(self, batch: Any, index: int) -> None:
            x, y = batch
            self.log("accuracy", (self.model(x).argmax(1) == y).float().mean(), sync_dist=True)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=3e-3)

    torch.manual_seed(0)
    left, right, left_y, right_y = digits()

    def loader(x: Any, y: Any, shuffle: bool) -> Any:
        rows = torch.utils.data.TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
        return torch.utils.data.DataLoader(rows, batch_size=32, shuffle=shuffle)

    trainer = pl.Trainer(
        max_epochs=12,
        accelerator="cpu",
        devices="auto",
        strategy=DDPStrategy(),
        plugins=[LightningEnvironment()],
        callbacks=[ReportCallback()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    prepare_trainer(trainer).fit(Digits(), loader(left, left_y, True), loader(right, right_y, False))


def test_lightning(run_config: Make) -> None:
    from shoal.train.torch import TorchTrainer

    run = run_config(name="lightning", checkpoint_config=train.CheckpointConfig(num_to_keep=1))
    result = TorchTrainer(lightning_loop, train_loop_config={}, scaling_config=TWO, run_config=run).fit()
    assert result.metrics is not None
    assert result.metrics["accuracy"] >= 0.95
    assert result.metrics_dataframe is not None
    assert len(result.metrics_dataframe) == 12
    assert result.checkpoint is not None
    assert os.listdir(result.checkpoint.path) == ["checkpoint.ckpt"]


def transformers_loop(config: dict[str, Any]) -> None:
    import torch
    from transformers import Trainer, TrainingArguments

    from shoal.train.huggingface.transformers import ReportCallback, prepare_trainer

    warnings.simplefilter("ignore")
    torch.manual_seed(0)

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()

        def forward(self, pixels: Any, labels: Any = None) -> Any:
            logits = self.model(pixels)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    left, right, left_y, right_y = digits()

    def rows(x: Any, y: Any) -> Any:
        return [
            {"pixels": torch.tensor(a, dtype=torch.float32), "labels": int(b)}
            for a, b in zip(x, y, strict=True)
        ]

    def accuracy(said: Any) -> dict[str, float]:
        return {"accuracy": float((said.predictions.argmax(1) == said.label_ids).mean())}

    arguments = TrainingArguments(
        output_dir=config["folder"],
        num_train_epochs=12,
        per_device_train_batch_size=16,
        learning_rate=5e-3,
        eval_strategy="epoch",
        save_strategy="epoch",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        Classifier(),
        arguments,
        train_dataset=rows(left, left_y),
        eval_dataset=rows(right, right_y),
        compute_metrics=accuracy,
    )
    trainer.add_callback(ReportCallback())
    prepare_trainer(trainer).train()


def test_transformers(run_config: Make, tmp_path: Path) -> None:
    from shoal.train.torch import TorchTrainer

    config = {"folder": str(tmp_path / "out")}
    run = run_config(name="transformers", checkpoint_config=train.CheckpointConfig(num_to_keep=1))
    result = TorchTrainer(
        transformers_loop, train_loop_config=config, scaling_config=TWO, run_config=run
    ).fit()
    assert result.metrics is not None
    assert result.metrics["eval_accuracy"] >= 0.95
    assert result.checkpoint is not None
    assert "model.safetensors" in os.listdir(f"{result.checkpoint.path}/checkpoint")


def accelerate_loop() -> None:
    import torch
    from accelerate import Accelerator

    torch.manual_seed(0)
    left, right, left_y, right_y = digits()
    rows = torch.utils.data.TensorDataset(torch.tensor(left, dtype=torch.float32), torch.tensor(left_y))
    accelerator = Accelerator(cpu=True)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = torch.utils.data.DataLoader(rows, batch_size=32, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    for _ in range(15):
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(torch.nn.functional.cross_entropy(model(x), y))
            optimizer.step()
    right_of = model(torch.tensor(right, dtype=torch.float32)).argmax(1) == torch.tensor(right_y)
    train.report({"accuracy": right_of.float().mean().item(), "ranks": accelerator.num_processes})


def test_accelerate(run_config: Make) -> None:
    from shoal.train.torch import TorchTrainer

    result = TorchTrainer(accelerate_loop, scaling_config=TWO, run_config=run_config(name="accelerate")).fit()
    assert result.metrics is not None
    assert result.metrics["accuracy"] >= 0.95
    assert result.metrics["ranks"] == 2


def keras_loop() -> None:
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    from shoal.train.tensorflow.keras import ReportCheckpointCallback

    keras.utils.set_random_seed(0)
    left, right, left_y, right_y = digits()
    model = keras.Sequential(
        [keras.layers.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    report = ReportCheckpointCallback()
    model.fit(left, left_y, epochs=12, verbose=0, validation_data=(right, right_y), callbacks=[report])


def test_keras(run_config: Make) -> None:
    from shoal.train.torch import TorchTrainer

    run = run_config(name="keras", checkpoint_config=train.CheckpointConfig(num_to_keep=1))
    result = TorchTrainer(keras_loop, run_config=run).fit()
    assert result.metrics is not None
    assert result.metrics["val_accuracy"] >= 0.95
    assert result.checkpoint is not None
    assert os.listdir(result.checkpoint.path) == ["model.keras"]


def test_sklearn(run_config: Make) -> None:
    from sklearn.ensemble import RandomForestClassifier

    from shoal.train.sklearn import SklearnTrainer

    result = SklearnTrainer(
        estimator=RandomForestClassifier(n_estimators=100),
        params={"random_state": 0},
        label_column="label",
        cv=5,
        datasets=frames(),
        scaling_config=TWO,
        run_config=run_config(name="sklearn"),
    ).fit()
    assert result.metrics is not None
    assert result.metrics["test-score"] >= 0.95
    assert result.checkpoint is not None
    model = SklearnTrainer.get_model(result.checkpoint)
    left, right, left_y, right_y = digits()
    import pandas as pd

    rows = pd.DataFrame(right, columns=[f"p{index}" for index in range(64)])
    assert (model.predict(rows) == right_y).mean() == pytest.approx(result.metrics["test-score"])
    from sklearn.model_selection import cross_val_score

    # Folds that workers fitted are those that one process fits.
    alone = cross_val_score(RandomForestClassifier(n_estimators=100, random_state=0), left, left_y, cv=5)
    assert result.metrics["cv-score"] == pytest.approx(alone.mean())
    assert result.metrics["cv-score_std"] == pytest.approx(alone.std())


def test_sklearn_says_what_is_missing() -> None:
    from sklearn.linear_model import LogisticRegression

    from shoal.train.sklearn import SklearnTrainer

    with pytest.raises(shoal.errors.ConfigError, match="with a fit"):
        SklearnTrainer(estimator=3, label_column="y", datasets={})
    with pytest.raises(shoal.errors.ConfigError, match="is needed"):
        SklearnTrainer(estimator=LogisticRegression(), label_column="y", datasets={})
