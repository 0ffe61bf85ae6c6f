"""SklearnTrainer."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError, describe
from shoal.train.backend import BackendConfig
from shoal.train.checkpoint import Checkpoint
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.data import DataConfig
from shoal.train.trainer import DataParallelTrainer

Scoring = str | Callable[..., float] | None


class _SklearnConfig(BackendConfig):
    preload: ClassVar[tuple[str, ...]] = ("numpy", "sklearn.base", "sklearn.model_selection")

    @property
    def framework(self) -> str | None:
        """The framework's name."""
        return "sklearn"


@attrs.frozen
class _Fit:
    """What the workers are to do."""

    estimator: Any
    label_column: str
    params: Mapping[str, Any]
    scoring: Scoring
    cv: Any
    fit_params: Mapping[str, Any]
    datasets: tuple[str, ...]


class SklearnTrainer(DataParallelTrainer):
    """Fits an estimator of scikit-learn to the dataset "train", and scores it on the others.

    An estimator learns in one process: rank 0 fits it to all rows. With `cv` the folds of the cross-validation are
    dealt to all workers, who fit one each at the same time. What the estimator does in threads (`n_jobs`) has as many
    as its worker has CPUs, unless it says so itself.

    Parameters: `estimator` has fit and predict; `params` are set on it. `label_column` is learned from the other
    columns. `scoring` is what scikit-learn knows by that name, or a scorer (None: the estimator's own score). `cv` is a
    number of folds or a splitter of scikit-learn's. `fit_params` go to fit. The others are DataParallelTrainer's.
    Metrics are "fit_time", "NAME-score" of each other dataset, and "cv-score", "cv-score_std".
    Raises ConfigError for what is missing.

    Example: `SklearnTrainer(estimator=LogisticRegression(), label_column="y", datasets={"train": ds}, cv=5).fit()`
    """

    def __init__(
        self,
        *,
        estimator: Any,
        label_column: str,
        datasets: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        scoring: Scoring = None,
        cv: Any = None,
        fit_params: Mapping[str, Any] | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(getattr(estimator, "fit", None)):
            raise ConfigError(
                f"estimator must be one of scikit-learn's, with a fit(), not {describe(estimator)}"
            )
        if "train" not in (datasets or {}):
            raise ConfigError("datasets={'train': …} is needed: the estimator is fitted to it")
        asked = _Fit(
            estimator, label_column, dict(params or {}), scoring, cv, dict(fit_params or {}), tuple(datasets)
        )
        super().__init__(
            fit_and_score,
            train_loop_config={"asked": asked},
            backend_config=_SklearnConfig(),
            scaling_config=scaling_config,
            run_config=run_config,
            datasets=datasets,
            dataset_config=DataConfig(datasets_to_split=[]),
            metadata=metadata,
        )

    @classmethod
    def get_model(cls, checkpoint: Checkpoint) -> Any:
        """Return the estimator in a checkpoint."""
        from shoal.train.sklearn.checkpoint import SklearnCheckpoint

        return SklearnCheckpoint(checkpoint.path, checkpoint.filesystem).get_estimator()


def fit_and_score(config: Mapping[str, Any]) -> None:
    """Fit folds, and in rank 0 the estimator. Runs in every rank."""
    import tempfile

    import numpy as np
    from sklearn.base import clone, is_classifier
    from sklearn.metrics import check_scoring
    from sklearn.model_selection import check_cv

    import shoal
    from shoal.train import collective
    from shoal.train.calls import get_context, report
    from shoal.train.frames import rows_and_labels
    from shoal.train.sklearn.checkpoint import SklearnCheckpoint

    asked: _Fit = config["asked"]
    rank, size = get_context().get_world_rank(), get_context().get_world_size()
    estimator = clone(asked.estimator).set_params(**asked.params)
    cpus = max(1, int(shoal.get_runtime_context().get_assigned_resources().get("CPU", 1.0)))
    threads = {
        name: cpus
        for name, value in estimator.get_params().items()
        if name.rpartition("__")[2] == "n_jobs" and value is None
    }
    estimator.set_params(**threads)
    score = check_scoring(estimator, scoring=asked.scoring)
    x, y = rows_and_labels("train", asked.label_column)
    metrics: dict[str, Any] = {}
    if asked.cv is not None:
        folds = list(check_cv(asked.cv, y, classifier=is_classifier(estimator)).split(x, y))
        mine: list[tuple[int, float]] = []
        for number in range(rank, len(folds), size):
            learn, ask = folds[number]
            fitted = clone(estimator).fit(x.iloc[learn], y.iloc[learn], **asked.fit_params)
            mine.append((number, float(score(fitted, x.iloc[ask], y.iloc[ask]))))
        scores = [each for _, each in sorted(itertools.chain(*collective.all_gather(mine)))]
        metrics |= {"cv-score": float(np.mean(scores)), "cv-score_std": float(np.std(scores))}
    if rank:
        report(metrics)
        return
    began = time.monotonic()
    estimator.fit(x, y, **asked.fit_params)
    metrics["fit_time"] = time.monotonic() - began
    for name in asked.datasets:
        if name != "train":
            metrics[f"{name}-score"] = float(score(estimator, *rows_and_labels(name, asked.label_column)))
    with tempfile.TemporaryDirectory() as folder:
        report(metrics, checkpoint=SklearnCheckpoint.from_estimator(estimator, path=folder))
