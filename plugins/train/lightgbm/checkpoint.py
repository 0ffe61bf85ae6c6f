"""Checkpoints of LightGBM's models."""

from __future__ import annotations

import os
import tempfile
from typing import Any, ClassVar

from shoal.train.checkpoint import FrameworkCheckpoint


class LightGBMCheckpoint(FrameworkCheckpoint):
    """A checkpoint of a booster.

    Example: `LightGBMCheckpoint.from_model(booster).get_model()`
    """

    MODEL_FILENAME: ClassVar[str] = "model.txt"

    @classmethod
    def from_model(
        cls, booster: Any, *, preprocessor: Any = None, path: str | None = None
    ) -> LightGBMCheckpoint:
        """Return a checkpoint of a booster, in a folder (a new temporary one)."""
        folder = tempfile.mkdtemp(prefix="checkpoint_") if path is None else path
        os.makedirs(folder, exist_ok=True)
        booster.save_model(os.path.join(folder, cls.MODEL_FILENAME))
        made: LightGBMCheckpoint = cls._made(folder, preprocessor)
        return made

    def get_model(self) -> Any:
        """Return the booster."""
        import lightgbm

        with self.as_directory() as folder:
            return lightgbm.Booster(model_file=os.path.join(folder, self.MODEL_FILENAME))
