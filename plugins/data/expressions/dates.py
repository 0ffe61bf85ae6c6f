"""What expressions can do with dates and times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pyarrow.compute as pc

if TYPE_CHECKING:
    from shoal.data.expressions.tree import Expr


@attrs.frozen(eq=False)
class DateNamespace:
    """`col("time").dt`."""

    expr: Expr

    def year(self) -> Expr:
        """Return the year."""
        return self.expr.call("year")

    def month(self) -> Expr:
        """Return the month, from 1 on."""
        return self.expr.call("month")

    def day(self) -> Expr:
        """Return the day of the month."""
        return self.expr.call("day")

    def hour(self) -> Expr:
        """Return the hour."""
        return self.expr.call("hour")

    def minute(self) -> Expr:
        """Return the minute."""
        return self.expr.call("minute")

    def second(self) -> Expr:
        """Return the second."""
        return self.expr.call("second")

    def strftime(self, fmt: str) -> Expr:
        """Return it as text.

        Example: `col("time").dt.strftime("%Y-%m-%d")`
        """
        return self.expr.call("strftime", options=pc.StrftimeOptions(format=fmt))

    def floor(self, unit: str) -> Expr:
        """Return the beginning of its unit: "day", "hour", …"""
        return self.expr.call("floor_temporal", options=pc.RoundTemporalOptions(unit=unit))

    def ceil(self, unit: str) -> Expr:
        """Return the end of its unit."""
        return self.expr.call("ceil_temporal", options=pc.RoundTemporalOptions(unit=unit))

    def round(self, unit: str) -> Expr:
        """Return the nearest beginning of a unit."""
        return self.expr.call("round_temporal", options=pc.RoundTemporalOptions(unit=unit))
