"""What the trainers of boosted trees have in common: training as parameters say, without a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shoal.errors import ConfigError
from shoal.train.config import RunConfig

Loop = Callable[..., Any]


def loop_of(
    given: Loop | None,
    given_config: Mapping[str, Any] | None,
    simply: Loop,
    *,
    label_column: str | None,
    params: Mapping[str, Any] | None,
    num_boost_round: int,
    datasets: Mapping[str, Any] | None,
    run_config: RunConfig | None,
) -> tuple[Loop, Mapping[str, Any] | None]:
    """Return the function that ranks run and its configuration: the program's own, or `simply` with the parameters.

    Raises ConfigError for parameters that are missing, or that are given beside a function.

    Example: `loop_of(None, None, train_simply, label_column="y", params={}, num_boost_round=10, …)`
    """
    if given is not None:
        if params is not None or label_column is not None:
            raise ConfigError("params and label_column are for training without train_loop_per_worker")
        return given, given_config
    if params is None or label_column is None or not datasets or "train" not in datasets:
        raise ConfigError(
            "without train_loop_per_worker, params, label_column and datasets={'train': …} are needed"
        )
    kept = (run_config or RunConfig()).checkpoint_config
    return simply, {
        "params": dict(params),
        "label_column": label_column,
        "num_boost_round": num_boost_round,
        "datasets": list(datasets),
        "frequency": kept.checkpoint_frequency,
        "at_end": kept.checkpoint_at_end is not False,
    }
