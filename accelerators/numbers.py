"""What counts as a number where a person asks for some of a resource."""

from __future__ import annotations


def is_number(value: object) -> bool:
    """Tell whether a value is an int or a float; True and False are not, though Python counts them as ints."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
