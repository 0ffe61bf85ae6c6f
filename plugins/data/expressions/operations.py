"""What stands between the parts of an expression, and what its computation asks of values."""

from __future__ import annotations

import enum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


class Operation(enum.Enum):
    """What stands between or before the parts of an expression."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"
    FLOORDIV = "//"
    MOD = "%"
    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    AND = "&"
    OR = "|"
    NOT = "~"
    IS_NULL = "is null"
    IS_NOT_NULL = "is not null"
    IN = "in"
    NOT_IN = "not in"


BINARY: dict[Operation, str] = {
    Operation.ADD: "add",
    Operation.SUB: "subtract",
    Operation.MUL: "multiply",
    Operation.EQ: "equal",
    Operation.NE: "not_equal",
    Operation.LT: "less",
    Operation.LE: "less_equal",
    Operation.GT: "greater",
    Operation.GE: "greater_equal",
    Operation.AND: "and_kleene",
    Operation.OR: "or_kleene",
}
"""Arrow's functions for what stands between two parts."""


def fractions(value: Any) -> Any:
    """Return a dividend as fractions, so that whole numbers are not cut.

    Example: `fractions(pa.array([1, 2]))`
    """
    if isinstance(value, pc.Expression):
        return value.cast(pa.float64())
    return value if pa.types.is_floating(value.type) else pc.cast(value, pa.float64())


def is_text(value: Any) -> bool:
    """Tell whether an Arrow value is text.

    Example: `is_text(pa.array(["a"]))  # True`
    """
    return not isinstance(value, pc.Expression) and (
        pa.types.is_string(value.type) or pa.types.is_large_string(value.type)
    )


def as_it_is(value: Any) -> Any:
    """Return the value.

    Example: `as_it_is(3)  # 3`
    """
    return value
