"""Why a value cannot travel, under the path that users of the reference know."""

from __future__ import annotations

from shoal import FailureTuple, inspect_serializability

__all__ = ["FailureTuple", "inspect_serializability"]
