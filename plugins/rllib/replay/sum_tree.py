"""Sums of priorities, such that rows can be drawn in proportion to them."""

from __future__ import annotations

from typing import Any

import numpy as np


class SumTree:
    """A binary tree of sums over `capacity` leaves. Many leaves are set, and many are found, by a few array operations.

    Example: `tree = SumTree(8); tree.set([0, 1], [1.0, 3.0]); tree.find([0.5, 2.0])  # array([0, 1])`
    """

    def __init__(self, capacity: int) -> None:
        self._first = 1 << max(0, capacity - 1).bit_length()  # the place of leaf 0
        self._sums = np.zeros(2 * self._first)

    @property
    def total(self) -> float:
        """The sum of all leaves."""
        return float(self._sums[1])

    def values(self, leaves: Any) -> Any:
        """Return the leaves' values."""
        return self._sums[self._first + np.asarray(leaves)]

    def set(self, leaves: Any, values: Any) -> None:
        """Give leaves values that are not negative; of one that is named twice the last counts."""
        nodes = self._first + np.asarray(leaves, dtype=np.int64)
        self._sums[nodes] = values
        while len(nodes) and nodes[0] > 1:
            # Sums are made anew rather than moved by differences, so that no error of rounding gathers.
            nodes = nodes >> 1
            if len(nodes) > 64:
                nodes = np.unique(nodes)
            self._sums[nodes] = self._sums[2 * nodes] + self._sums[2 * nodes + 1]

    def find(self, sums: Any) -> Any:
        """Return for each number the leaf where the sum of all leaves up to it first exceeds the number.

        Numbers are to be from 0 up to `total`. Leaves of value 0 are never found, unless all are.
        """
        left_over = np.array(sums, dtype=np.float64)
        nodes = np.ones(len(left_over), dtype=np.int64)
        while len(nodes) and nodes[0] < self._first:
            nodes = 2 * nodes
            left = self._sums[nodes]
            goes_right = (left_over >= left) & (self._sums[nodes + 1] > 0)
            left_over -= np.where(goes_right, left, 0.0)
            nodes += goes_right
        return nodes - self._first
