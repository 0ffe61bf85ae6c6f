"""A search for a good gradient boosting model on scikit-learn's breast cancer data, and pictures of it.

python examples/tune_gradient_boosting.py [FOLDER FOR PICTURES]
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import shoal
from shoal import tune
from shoal.tune.plots import importances, write_report
from shoal.tune.schedulers import ASHAScheduler

SPACE = {
    "learning_rate": tune.loguniform(1e-3, 1.0),
    "max_leaf_nodes": tune.lograndint(2, 64),
    "l2_regularization": tune.loguniform(1e-4, 10),
    "max_features": tune.uniform(0.1, 1.0),
}


def boost(config: dict[str, Any]) -> None:
    """Add five trees at a time, and report the loss on rows that were held back."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import accuracy_score, log_loss
    from sklearn.model_selection import train_test_split

    features, labels = load_breast_cancer(return_X_y=True)
    parts = train_test_split(features, labels, test_size=0.4, random_state=0, stratify=labels)
    model = HistGradientBoostingClassifier(warm_start=True, random_state=0, early_stopping=False, **config)
    for trees in range(5, 46, 5):
        model.set_params(max_iter=trees).fit(parts[0], parts[2])
        chances = model.predict_proba(parts[1])
        tune.report(
            {
                "loss": log_loss(parts[3], chances),
                "accuracy": accuracy_score(parts[3], chances.argmax(1)),
                "trees": trees,
            }
        )


def search(samples: int, storage: str) -> tune.ResultGrid:
    """Try so many configurations, most of them not to the end."""
    tuner = tune.Tuner(
        boost,
        param_space=SPACE,
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=samples,
            seed=1,
            scheduler=ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            name="boosting",
            storage_path=storage,
            verbose=0,
            # A trial has one CPU: threads of OpenMP for each of the machine's would wait for each other.
            worker_runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        ),
    )
    return tuner.fit()


def main() -> None:
    """Search, say what was found, and draw it."""
    shoal.init(log_to_driver=False)
    with tempfile.TemporaryDirectory() as storage:
        results = search(60, storage)
        best = results.get_best_result()
        assert best.metrics is not None
        sys.stdout.write(f"{len(results)} trials; the best has loss {best.metrics['loss']:.4f}, "
                         f"accuracy {best.metrics['accuracy']:.3f} with {best.config}\n")  # fmt: skip
        analysis = tune.ExperimentAnalysis(results.experiment_path)
        sys.stdout.write(f"what it depends on: {importances(analysis)}\n")
        if len(sys.argv) > 1:
            write_report(analysis, sys.argv[1])


if __name__ == "__main__":
    main()
