"""What expressions can do with dates and times."""

from __future__ import annotations

import attrs
import pyarrow.compute as pc

from shoal.data.expressions.tree import CallExpr, Expr


@attrs.frozen(eq=False)
class DateNamespace:
    """`col("time").dt`."""

    expr: Expr

    def year(self) -> Expr:
        """Return the year."""
        return CallExpr("year", (self.expr,))

    def month(self) -> Expr:
        """Return the month, from 1 on."""
        return CallExpr("month", (self.expr,))

    def day(self) -> Expr:
        """Return the day of the month."""
        return CallExpr("day", (self.expr,))

    def hour(self) -> Expr:
        """Return the hour."""
        return CallExpr("hour", (self.expr,))

    def minute(self) -> Expr:
        """Return the minute."""
        return CallExpr("minute", (self.expr,))

    def second(self) -> Expr:
        """Return the second."""
        return CallExpr("second", (self.expr,))

    def strftime(self, fmt: str) -> Expr:
        """Return it as text.

        Example: `col("time").dt.strftime("%Y-%m-%d")`
        """
        return CallExpr("strftime", (self.expr,), pc.StrftimeOptions(format=fmt))

    def floor(self, unit: str) -> Expr:
        """Return the beginning of its unit: "day", "hour", …"""
        return CallExpr("floor_temporal", (self.expr,), pc.RoundTemporalOptions(unit=unit))

    def ceil(self, unit: str) -> Expr:
        """Return the end of its unit."""
        return CallExpr("ceil_temporal", (self.expr,), pc.RoundTemporalOptions(unit=unit))

    def round(self, unit: str) -> Expr:
        """Return the nearest beginning of a unit."""
        return CallExpr("round_temporal", (self.expr,), pc.RoundTemporalOptions(unit=unit))
