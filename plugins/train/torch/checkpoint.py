"""Checkpoints of torch models."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.train.checkpoint import FrameworkCheckpoint


class TorchCheckpoint(FrameworkCheckpoint):
    """A checkpoint of a torch model or its weights.

    Example: `TorchCheckpoint.from_state_dict(model.state_dict()).get_model(MyModel())`
    """

    MODEL_FILENAME: ClassVar[str] = "model.pt"

    @classmethod
    def from_state_dict(cls, state_dict: Mapping[str, Any], *, preprocessor: Any = None) -> TorchCheckpoint:
        """Return a checkpoint of weights, in a new temporary folder."""
        return cls._saved(dict(state_dict), preprocessor)

    @classmethod
    def from_model(cls, model: Any, *, preprocessor: Any = None) -> TorchCheckpoint:
        """Return a checkpoint of a whole model, in a new temporary folder: its class must be importable to read it."""
        return cls._saved(model, preprocessor)

    @classmethod
    def _saved(cls, what: Any, preprocessor: Any) -> TorchCheckpoint:
        import torch

        folder = tempfile.mkdtemp(prefix="checkpoint_")
        torch.save(what, os.path.join(folder, cls.MODEL_FILENAME))
        made: TorchCheckpoint = cls._made(folder, preprocessor)
        return made

    def get_model(self, model: Any = None) -> Any:
        """Return the model: `model` with the weights, or the whole one that was saved.

        A whole model is a pickle, which is code as well as data: read only what you trust.
        Raises ValueError if weights were saved and no model is given.
        """
        import torch

        with self.as_directory() as folder:
            path = os.path.join(folder, self.MODEL_FILENAME)
            found = torch.load(path, map_location="cpu", weights_only=model is not None)
        if not isinstance(found, Mapping):
            return found
        if model is None:
            raise ValueError("the checkpoint holds weights only: give get_model() the model they are for")
        bare = {name.removeprefix("module."): value for name, value in found.items()}
        model.load_state_dict(bare)
        return model
