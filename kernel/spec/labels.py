"""Label selectors: which nodes a demand accepts by their labels.

A selector maps a label's key to "value", "!value", "in(a,b)" or "!in(a,b)", or to "*" (the label is there) or "!*". A
key that a node lacks satisfies only those that begin with "!".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from shoal.errors import ConfigError, describe

ANY = frozenset({"*"})


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[bool, frozenset[str]]:
    """Return whether the values are wanted (or refused), and the values. Raises ConfigError.

    Example: `parse("!in(a, b)")` is `(False, frozenset({"a", "b"}))`.
    """
    wanted = not text.startswith("!")
    rest = text if wanted else text[1:]
    if rest.startswith("in(") and rest.endswith(")"):
        values = frozenset(part.strip() for part in rest[3:-1].split(","))
    else:
        values = frozenset((rest,))
    if "" in values or any(set(value) & set("!(),") for value in values):
        raise ConfigError(
            f"a label selector must be 'value', '!value', 'in(a,b)', '!in(a,b)', '*' or '!*', got {describe(text)}"
        )
    return wanted, values


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Tell whether labels satisfy every part of a selector. Raises ConfigError for one that cannot be read."""
    for key, text in selector.items():
        wanted, values = parse(text)
        found = key in labels if values == ANY else labels.get(key) in values
        if found != wanted:
            return False
    return True


def allows(allowed: Mapping[str, tuple[str, ...]], labels: Mapping[str, str]) -> bool:
    """Tell whether each key has one of the values listed for it, as NodeLabelStrategy means it."""
    return all(labels.get(key) in values for key, values in allowed.items())
