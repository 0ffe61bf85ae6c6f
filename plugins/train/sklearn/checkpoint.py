"""Checkpoints of scikit-learn's estimators."""

from __future__ import annotations

import os
import tempfile
from typing import Any, ClassVar

from shoal.train.checkpoint import FrameworkCheckpoint


class SklearnCheckpoint(FrameworkCheckpoint):
    """A checkpoint of a fitted estimator, pickled: load only what you trust.

    Example: `SklearnCheckpoint.from_estimator(estimator).get_estimator()`
    """

    MODEL_FILENAME: ClassVar[str] = "model.pkl"

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, preprocessor: Any = None, path: str | None = None
    ) -> SklearnCheckpoint:
        """Return a checkpoint of an estimator, in a folder (a new temporary one)."""
        import cloudpickle

        folder = tempfile.mkdtemp(prefix="checkpoint_") if path is None else path
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, cls.MODEL_FILENAME), "wb") as file:
            cloudpickle.dump(estimator, file)
        made: SklearnCheckpoint = cls._made(folder, preprocessor)
        return made

    def get_estimator(self) -> Any:
        """Return the estimator."""
        import cloudpickle

        with self.as_directory() as folder, open(os.path.join(folder, self.MODEL_FILENAME), "rb") as file:
            return cloudpickle.load(file)
