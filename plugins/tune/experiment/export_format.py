"""The formats that trainables may export their models in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shoal.errors import ConfigError, describe

__all__ = ["ExportFormat"]


class ExportFormat:
    """The formats that `Trainable.export_model` is asked for.

    Example: `tune.run(Net, export_formats=[ExportFormat.ONNX])`
    """

    CHECKPOINT = "checkpoint"
    MODEL = "model"
    ONNX = "onnx"
    H5 = "h5"

    @staticmethod
    def validate(formats: Sequence[Any]) -> None:
        """Bring formats' names to the known spelling, in place. Raises ConfigError for an unknown one."""
        known = (ExportFormat.CHECKPOINT, ExportFormat.MODEL, ExportFormat.ONNX, ExportFormat.H5)
        for index, given in enumerate(formats):
            name = given.strip().lower() if isinstance(given, str) else given
            if name not in known:
                raise ConfigError(f"an export format is one of {', '.join(known)}, not {describe(given)}")
            if isinstance(formats, list):
                formats[index] = name
