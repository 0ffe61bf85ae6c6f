"""What people name jobs and say about them: any text, within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe

_MOST_ID = 128
_MOST_METADATA = 1 << 16


def check_id(value: Any, what: str) -> str:
    """Return a job's identifier. Raises ConfigError for what can be no part of an address.

    Spaces, punctuation and every script are allowed; a slash and what cannot be printed are not.
    """
    if (
        not isinstance(value, str)
        or not value
        or value != value.strip()
        or len(value.encode(errors="replace")) > _MOST_ID
        or not value.isprintable()
        or any(mark in value for mark in "/\\")
        or value in (".", "..")
    ):
        raise ConfigError(
            f"{what} must be a text of 1 to {_MOST_ID} bytes that can be printed, without '/' and '\\' and without "
            f"spaces at its ends, not {describe(value)}"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{what} {value!r} is no valid Unicode") from None
    return value


def check_metadata(value: Any) -> dict[str, str]:
    """Return a job's metadata. Raises ConfigError for what is no table of texts."""
    if not isinstance(value, Mapping) or not all(
        isinstance(key, str) and isinstance(text, str) for key, text in value.items()
    ):
        raise ConfigError(f"metadata must be texts by name, such as {{'team': 'a'}}, not {describe(value)}")
    size = sum(
        len(key.encode(errors="replace")) + len(text.encode(errors="replace")) for key, text in value.items()
    )
    if size > _MOST_METADATA:
        raise ConfigError(f"metadata must be at most {_MOST_METADATA:,} bytes together, and this is {size:,}")
    return dict(value)
