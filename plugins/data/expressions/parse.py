"""Expressions written as text, such as "fare > 10 and city in ['Bern', 'Basel']"."""

from __future__ import annotations

import ast
from typing import Any

import pyarrow.compute as pc

from shoal.data.expressions.making import col, lit
from shoal.data.expressions.operations import Operation
from shoal.data.expressions.tree import BinaryExpr, Expr, LiteralExpr, to_expression
from shoal.errors import describe

_OPERATIONS: dict[type[ast.AST], Operation] = {
    ast.Add: Operation.ADD,
    ast.Sub: Operation.SUB,
    ast.Mult: Operation.MUL,
    ast.Div: Operation.DIV,
    ast.FloorDiv: Operation.FLOORDIV,
    ast.Mod: Operation.MOD,
    ast.Eq: Operation.EQ,
    ast.NotEq: Operation.NE,
    ast.Lt: Operation.LT,
    ast.LtE: Operation.LE,
    ast.Gt: Operation.GT,
    ast.GtE: Operation.GE,
    ast.In: Operation.IN,
    ast.NotIn: Operation.NOT_IN,
    ast.BitAnd: Operation.AND,
    ast.BitOr: Operation.OR,
}


def parse(text: str) -> Expr:
    """Return the expression of a text in Python's syntax: names are columns; nothing is called or run.

    Raises ValueError that shows what cannot be understood.

    Example: `parse("x > 3 and not (name == 'a')")`
    """
    try:
        return _expression(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no expression: {error.msg}") from error
    except _Unknown as error:
        raise ValueError(
            f"{text!r} is no expression: {ast.unparse(error.node)} cannot be used; there are names of columns, values, "
            "comparisons, arithmetic, and, or, not, in and is None"
        ) from error


def to_arrow(expression: Any) -> Any:
    """Return an Arrow expression of ours, of Arrow's or of text. Raises TypeError for anything else.

    Example: `to_arrow(col("x") > 3)`
    """
    if isinstance(expression, pc.Expression):
        return expression
    if isinstance(expression, str):
        expression = parse(expression)
    if isinstance(expression, Expr):
        return expression.to_pyarrow()
    raise TypeError(
        "an expression is needed, such as col('x') > 3, \"x > 3\" or one of pyarrow.compute, "
        f"not {describe(expression)}"
    )


class _Unknown(Exception):
    def __init__(self, node: ast.AST) -> None:
        super().__init__(node)
        self.node = node


def _expression(node: ast.AST) -> Expr:
    if isinstance(node, ast.Name):
        return col(node.id)
    if isinstance(node, ast.BoolOp):
        operation = Operation.AND if isinstance(node.op, ast.And) else Operation.OR
        found = _expression(node.values[0])
        for value in node.values[1:]:
            found = BinaryExpr(operation, found, _expression(value))
        return found
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return BinaryExpr(_OPERATIONS[type(node.op)], _expression(node.left), _expression(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
        return ~_expression(node.operand)
    if isinstance(node, ast.Compare):
        return _comparison(node)
    try:
        return lit(ast.literal_eval(node))
    except (ValueError, TypeError):
        raise _Unknown(node) from None


def _comparison(node: ast.Compare) -> Expr:
    found: Expr | None = None
    left: Any = _expression(node.left)
    for operator, right_node in zip(node.ops, node.comparators, strict=True):
        right = _expression(right_node)
        if isinstance(operator, (ast.Is, ast.IsNot)):
            if not isinstance(right, LiteralExpr) or right.value is not None:
                raise _Unknown(node)
            one = left.is_null() if isinstance(operator, ast.Is) else left.is_not_null()
        elif isinstance(operator, (ast.In, ast.NotIn)) and not isinstance(right, LiteralExpr):
            raise _Unknown(node)
        else:
            one = BinaryExpr(_OPERATIONS[type(operator)], left, to_expression(right))
        found = one if found is None else found & one
        left = right
    assert found is not None
    return found
