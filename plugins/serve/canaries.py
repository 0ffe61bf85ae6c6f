"""Canaries: part of an application's requests goes to another application, which has the next version."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks

SESSION = b"x-session-id"


def _header(value: Any) -> dict[str, str]:
    given = checks.mapping(value or {}, "header")
    if not all(isinstance(each, str) for each in given.values()):
        raise ConfigError(
            "header must be a mapping from headers' names to their values, such as {'X-Canary': 'on'}"
        )
    return {name.lower(): each for name, each in given.items()}


def _weight(instance: Any, attribute: Any, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ConfigError(
            f"weight must be a number from 0 to 1 (0.1: one request of ten), not {describe(value)}"
        )


@attrs.frozen(kw_only=True)
class Canary:
    """Which requests of an application go to another one: a share of `weight` (0 to 1) of them, and those that have
    any of the values of `header`.

    Requests with one session (the header `X-Session-ID`) all go to the same of the two as long as the weight stays,
    and stay with the canary when it grows. Raises ConfigError.

    Example: `Canary(application="words-v2", weight=0.1, header={"X-Canary": "on"})`
    """

    application: str = attrs.field(validator=checks.text())
    weight: float = attrs.field(default=0.0, validator=_weight)
    header: Mapping[str, str] = attrs.field(factory=dict, converter=_header)

    def takes(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Tell whether a request goes to the canary. Names of headers are in lower case, as servers have them."""
        session = b""
        for name, value in headers:
            if name == SESSION:
                session = value
            elif self.header and self.header.get(name.decode("latin-1")) == value.decode("latin-1"):
                return True
        if self.weight <= 0:
            return False
        return self.weight >= 1 or _place(session) < self.weight


def _place(session: bytes) -> float:
    """Return a number from 0 to 1: for a session always the same, otherwise any."""
    if not session:
        return random.random()
    return int.from_bytes(hashlib.blake2b(session, digest_size=7).digest(), "big") / (1 << 56)


def canary_of(value: Any) -> Canary | None:
    """Return a canary of what was given: a mapping of its fields, one, or None. Raises ConfigError."""
    if value is None or isinstance(value, Canary):
        return value
    given = checks.mapping(value, "canary")
    if unknown := sorted(given.keys() - {"application", "weight", "header"}):
        raise ConfigError(f"canary has no {', '.join(unknown)}; it has application, header, weight")
    if "application" not in given:
        raise ConfigError("canary names the application that gets the requests: application")
    return Canary(**given)
