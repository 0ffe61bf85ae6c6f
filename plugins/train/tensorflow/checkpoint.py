"""Checkpoints of Keras models."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any, ClassVar

from shoal.train.checkpoint import FrameworkCheckpoint


class TensorflowCheckpoint(FrameworkCheckpoint):
    """A checkpoint of a Keras model, as a file or a folder.

    Example: `TensorflowCheckpoint.from_model(model).get_model()`
    """

    MODEL_FILENAME_KEY: ClassVar[str] = "_model_filename"

    @classmethod
    def from_model(cls, model: Any, *, preprocessor: Any = None) -> TensorflowCheckpoint:
        """Return a checkpoint of a model, in a new temporary folder."""
        folder = tempfile.mkdtemp(prefix="checkpoint_")
        model.save(os.path.join(folder, "model.keras"))
        made: TensorflowCheckpoint = cls._made(folder, preprocessor, {cls.MODEL_FILENAME_KEY: "model.keras"})
        return made

    @classmethod
    def from_h5(cls, file_path: str, *, preprocessor: Any = None) -> TensorflowCheckpoint:
        """Return a checkpoint of an .h5 file. Raises FileNotFoundError."""
        if not os.path.isfile(file_path) or not file_path.endswith(".h5"):
            raise FileNotFoundError(f"there is no file {file_path!r} whose name ends in .h5")
        folder = tempfile.mkdtemp(prefix="checkpoint_")
        name = os.path.basename(file_path)
        shutil.copy(file_path, os.path.join(folder, name))
        made: TensorflowCheckpoint = cls._made(folder, preprocessor, {cls.MODEL_FILENAME_KEY: name})
        return made

    @classmethod
    def from_saved_model(cls, dir_path: str, *, preprocessor: Any = None) -> TensorflowCheckpoint:
        """Return a checkpoint of a folder that TensorFlow saved. Raises FileNotFoundError."""
        if not os.path.isdir(dir_path):
            raise FileNotFoundError(f"there is no folder {dir_path!r}")
        folder = tempfile.mkdtemp(prefix="checkpoint_")
        shutil.copytree(dir_path, folder, dirs_exist_ok=True)
        made: TensorflowCheckpoint = cls._made(folder, preprocessor, {cls.MODEL_FILENAME_KEY: "."})
        return made

    def get_model(self) -> Any:
        """Return the model; that of a folder is tf.saved_model's. Raises ValueError if nothing says which it is."""
        name = self.get_metadata().get(self.MODEL_FILENAME_KEY)
        if name is None:
            raise ValueError(
                "the checkpoint does not say which file the model is in: make it with from_model()"
            )
        with self.as_directory() as folder:
            if name == ".":
                import tensorflow as tf

                return tf.saved_model.load(folder)
            import keras

            return keras.models.load_model(os.path.join(folder, name))
