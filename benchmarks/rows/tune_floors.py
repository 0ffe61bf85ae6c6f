"""What a study of Optuna does in one process, with nothing distributed and nothing stored."""

from __future__ import annotations

from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
TRIALS = "Optuna: 1,000 trivial trials, n_jobs=2"


@ROWS.row(TRIALS, seconds=120)
def trials(bench: Bench) -> Reading:
    """Trials a second of `study.optimize(n_jobs=2)`: configurations drawn at random, results in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    count = bench.size(1000, 100)

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float("x", 0, 1) ** 2 + trial.suggest_float("y", 0, 1)

    def search() -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        study.optimize(objective, n_trials=count, n_jobs=2)

    return bench.rate(search, count)
