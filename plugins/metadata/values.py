"""The values that stores take: bytes, prefixes of keys, and how long a lease lasts."""

from __future__ import annotations

from shoal.errors import describe

_LONGEST = 1e9  # seconds of a lease: what every store can count


def check_seconds(seconds: object) -> float:
    """Return how long a lease is to last. Raises ValueError unless it is a positive number of seconds."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < _LONGEST:
        raise ValueError(f"a lease lasts a positive number of seconds, not {describe(seconds)}")
    return float(seconds)


def as_bytes(value: object) -> bytes:
    """Return what a caller gave as bytes. Raises TypeError for anything that is not bytes already."""
    return bytes(memoryview(value))  # type: ignore[arg-type]  # what is no buffer is what this finds


def after(prefix: bytes) -> bytes | None:
    """Return the first key after all those that begin with `prefix`; None if there can be none.

    Example: `after(b"ab")` is `b"ac"`.
    """
    cut = bytes(prefix).rstrip(b"\xff")
    return cut[:-1] + bytes([cut[-1] + 1]) if cut else None
