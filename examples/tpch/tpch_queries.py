"""The 22 queries of TPC-H by their numbers."""

from __future__ import annotations

from collections.abc import Callable

import tpch_first
import tpch_second
from tpch_words import NAMES, Tables

from shoal.data import Dataset

__all__ = ["NAMES", "QUERIES", "Tables"]

QUERIES: dict[int, Callable[[Tables], Dataset]] = {
    number: getattr(tpch_first if number < 12 else tpch_second, f"q{number:02d}") for number in range(1, 23)
}
