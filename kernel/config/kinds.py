"""Kinds of settings: what values each takes, how text becomes one, and the words that say so in an error."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


class Kind(ABC):
    """A set of values. `check` returns the value in its one form or raises ValueError with what is allowed."""

    __slots__ = ("optional",)
    optional: bool

    def __init__(self, optional: bool = False) -> None:
        self.optional = optional  # whether None is a value: it means that the session decides

    def __call__(self, value: Any) -> Any:
        """Return the value in its one form. Raises ValueError."""
        if value is None and self.optional:
            return None
        checked = self.check(value)
        if checked is None:
            raise ValueError(f"must be {self.allowed}{' or None' if self.optional else ''}")
        return checked

    def parse(self, text: str) -> Any:
        """Return the value that an environment variable's text means. Raises ValueError."""
        if self.optional and text.lower() in ("", "none"):
            return None
        return self(self.read(text))

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What follows "must be" in an error, and stands in the documentation."""

    @abstractmethod
    def check(self, value: Any) -> Any:
        """Return the value in its one form, or None if it is not of this kind."""

    def read(self, text: str) -> Any:
        """Turn text into something that `check` can judge."""
        return text


class Flag(Kind):
    """True or False; as text also 1, 0, yes, no, on, off."""

    __slots__ = ()
    allowed = "true or false"

    def check(self, value: Any) -> bool | None:
        return value if isinstance(value, bool) else None

    def read(self, text: str) -> Any:
        words = {"1": True, "true": True, "yes": True, "on": True}
        words |= {"0": False, "false": False, "no": False, "off": False}
        return words.get(text.strip().lower(), text)


class Number(Kind):
    """A finite number from `least` to `most`; whole numbers only if `whole`."""

    __slots__ = ("least", "most", "whole")
    least: float
    most: float
    whole: bool

    def __init__(
        self, least: float, most: float = math.inf, *, whole: bool = False, optional: bool = False
    ) -> None:
        super().__init__(optional)
        self.least, self.most, self.whole = least, most, whole

    @property
    def allowed(self) -> str:
        noun = "a whole number" if self.whole else "a number"
        if self.most == math.inf:
            return f"{noun} of at least {self.least}"
        return f"{noun} from {self.least} to {self.most}"

    def check(self, value: Any) -> float | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        if not self.least <= value <= self.most:
            return None
        if self.whole:
            return int(value) if value == int(value) else None
        return value

    def read(self, text: str) -> Any:
        try:
            return int(text)
        except ValueError:
            pass
        try:
            return float(text)
        except ValueError:
            return text


class Size(Kind):
    """A number of bytes: a whole number, or text with a unit such as "512MB" (10**6) or "2 GiB" (2**30)."""

    __slots__ = ("least",)
    least: int

    def __init__(self, least: int = 0, *, optional: bool = False) -> None:
        super().__init__(optional)
        self.least = least

    @property
    def allowed(self) -> str:
        return f'a number of bytes of at least {self.least}, such as 1000000, "512MB" or "2GiB"'

    def check(self, value: Any) -> int | None:
        if isinstance(value, str):
            number = value.strip().rstrip("BbIiKkMmGgTt ")
            unit = value.strip()[len(number) :].strip().upper()
            try:
                value = float(number) * UNITS[unit]
            except (ValueError, KeyError):
                return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return int(value) if value >= self.least else None


class Text(Kind):
    """Text; one of `choices` if there are any."""

    __slots__ = ("choices", "empty")
    choices: tuple[str, ...]
    empty: bool

    def __init__(self, *choices: str, empty: bool = False, optional: bool = False) -> None:
        super().__init__(optional)
        self.choices, self.empty = choices, empty

    @property
    def allowed(self) -> str:
        if self.choices:
            return " or ".join(repr(choice) for choice in self.choices)
        return "text" if self.empty else "text that is not empty"

    def check(self, value: Any) -> str | None:
        if not isinstance(value, str) or (self.choices and value not in self.choices):
            return None
        return value if value or self.empty else None


class Names(Kind):
    """A tuple of names; as text separated by commas."""

    __slots__ = ()
    allowed = "a list of names"

    def check(self, value: Any) -> tuple[str, ...] | None:
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) and name for name in value):
            return None
        return tuple(value) if len(set(value)) == len(value) else None

    def read(self, text: str) -> Any:
        return [name.strip() for name in text.split(",") if name.strip()]


class Table(Kind):
    """A mapping from names to values of a kind (None: any plain data); as text, JSON."""

    __slots__ = ("values",)
    values: Kind | None

    def __init__(self, values: Kind | None = None) -> None:
        super().__init__()
        self.values = values

    @property
    def allowed(self) -> str:
        return "a table of names and " + ("plain values" if self.values is None else self.values.allowed)

    def check(self, value: Any) -> dict[str, Any] | None:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) and name for name in value):
            return None
        if self.values is None:
            return dict(value) if all(is_plain(item) for item in value.values()) else None
        try:
            return {name: self.values(item) for name, item in value.items()}
        except ValueError:
            return None

    def read(self, text: str) -> Any:
        import json

        try:
            return json.loads(text)
        except ValueError:
            return text


def is_plain(value: Any) -> bool:
    """Tell whether a value can be sent and written as it is: numbers, text, bytes, and lists and tables of them."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and is_plain(item) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str, bytes))
