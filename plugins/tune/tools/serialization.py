"""JSON with functions and other objects in it, as pickles."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["TuneFunctionDecoder", "TuneFunctionEncoder"]

_TYPE = "CLOUDPICKLE_FALLBACK"


class TuneFunctionEncoder(json.JSONEncoder):
    """Writes what JSON has not, such as functions, as pickles.

    Example: `json.dumps({"f": len}, cls=TuneFunctionEncoder)`
    """

    def default(self, obj: Any) -> Any:
        """Return an object as a mapping that the decoder knows."""
        import cloudpickle

        return {"_type": _TYPE, "value": cloudpickle.dumps(obj).hex()}


class TuneFunctionDecoder(json.JSONDecoder):
    """Reads what TuneFunctionEncoder wrote.

    Parameters: with `allow_cloudpickle` pickles are loaded, which runs whatever they hold: for your own files only.
    Raises ValueError for a pickle without.

    Example: `json.loads(text, cls=TuneFunctionDecoder, allow_cloudpickle=True)`
    """

    def __init__(self, *args: Any, allow_cloudpickle: bool = False, **kwargs: Any) -> None:
        self._allowed = allow_cloudpickle
        super().__init__(*args, object_hook=self.object_hook, **kwargs)

    def object_hook(self, obj: dict[str, Any]) -> Any:
        """Return the object of a mapping that the encoder made; others as they are."""
        if obj.get("_type") != _TYPE:
            return obj
        if not self._allowed:
            raise ValueError(
                "this JSON holds a pickle, which runs code when it is loaded: TuneFunctionDecoder("
                "allow_cloudpickle=True) loads it, if you trust where it is from"
            )
        import cloudpickle

        return cloudpickle.loads(bytes.fromhex(obj["value"]))
