"""Telling joblib that there is a backend."""

from __future__ import annotations

from typing import Any

NAMES = ("shoal", "ray")


def register_shoal() -> None:
    """Make Shoal one of joblib's backends, under the names "shoal" and "ray". Again does nothing new.

    Raises ImportError without joblib.

    Example:
        register_shoal()
        with joblib.parallel_config("shoal"):
            GridSearchCV(model, grid, n_jobs=-1).fit(x, y)
    """
    import joblib

    def make(**options: Any) -> Any:
        from shoal.util.joblib.backend import ShoalBackend

        return ShoalBackend(**options)

    for name in NAMES:
        joblib.register_parallel_backend(name, make)
