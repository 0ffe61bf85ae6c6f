"""Many models in one replica: which are loaded, and who goes when another one comes."""

from __future__ import annotations

_caches: list[object] = []


def loaded_models() -> list[str]:
    """Return the models that this process has loaded."""
    return []
