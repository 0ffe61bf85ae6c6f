"""Checkpoints of XGBoost's models."""

from __future__ import annotations

import os
import tempfile
from typing import Any, ClassVar

from shoal.train.checkpoint import FrameworkCheckpoint


class XGBoostCheckpoint(FrameworkCheckpoint):
    """A checkpoint of a booster.

    Example: `XGBoostCheckpoint.from_model(booster).get_model()`
    """

    MODEL_FILENAME: ClassVar[str] = "model.ubj"

    @classmethod
    def from_model(
        cls, booster: Any, *, preprocessor: Any = None, path: str | None = None
    ) -> XGBoostCheckpoint:
        """Return a checkpoint of a booster, in a folder (a new temporary one)."""
        folder = tempfile.mkdtemp(prefix="checkpoint_") if path is None else path
        os.makedirs(folder, exist_ok=True)
        booster.save_model(os.path.join(folder, cls.MODEL_FILENAME))
        made: XGBoostCheckpoint = cls._made(folder, preprocessor)
        return made

    def get_model(self) -> Any:
        """Return the booster."""
        import xgboost

        with self.as_directory() as folder:
            model = xgboost.Booster()
            model.load_model(os.path.join(folder, self.MODEL_FILENAME))
            return model
