"""Datasets mixed by weights: of each so many rows for so many of the others, block by block."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from shoal.data.execution.operators import Operator
from shoal.data.execution.work import Work
from shoal.data.plan.logical import Node


class MixStoppingCondition(enum.Enum):
    """When a mix of datasets ends."""

    STOP_ON_SHORTEST = "stop_on_shortest"  # with the first dataset that ends
    STOP_ON_LONGEST_DROP = "stop_on_longest_drop"  # when all have ended; who ends early drops out


@attrs.frozen(eq=False)
class Mix(Node):
    """The blocks of several inputs in turns, so that their rows are in proportion to weights."""

    parts: tuple[Node, ...]
    weights: tuple[float, ...]
    stopping_condition: MixStoppingCondition

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The steps that this one takes blocks from."""
        return self.parts

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "Mix(" + ", ".join(f"{weight:g}" for weight in self.weights) + ")"


class MixOperator(Operator):
    """Passes on a block of the port that is furthest behind its weight, and waits for that one."""

    def __init__(self, name: str, weights: Sequence[float], stopping_condition: MixStoppingCondition) -> None:
        super().__init__(name, len(weights), cpus=0.0)
        self.passes = True
        self._weights = weights
        self._given = [0.0] * len(weights)
        self._stops = stopping_condition is MixStoppingCondition.STOP_ON_SHORTEST
        self._over = False

    def advance(self) -> None:
        """Pass blocks on, as long as whose turn it is has one."""
        while not self._over:
            over = [ended and not queue for ended, queue in zip(self.input_ended, self.queues, strict=True)]
            if all(over) or (self._stops and any(over)):
                self._finish()
                return
            turn = min(
                (port for port in range(len(over)) if not over[port]),
                key=lambda port: (self._given[port] / self._weights[port], port),
            )
            if not self.queues[turn]:
                return
            bundle = self.queues[turn].popleft()
            self._given[turn] += bundle.rows
            self.out.pass_on(bundle)

    def _finish(self) -> None:
        self._over = True
        for queue in self.queues:
            queue.clear()

    def accept(self, port: int, bundle: object) -> None:
        """Take a block in; after the end it is dropped."""
        if not self._over:
            super().accept(port, bundle)  # type: ignore[arg-type]

    @property
    def satisfied(self) -> bool:
        """Whether nothing more is needed of what comes before."""
        return self._over

    def peek(self) -> bool:
        """Nothing is to be started."""
        return False

    def begin(self, task: int) -> Work:
        """Never called."""
        raise AssertionError("a mix starts nothing")

    def complete(self) -> bool:
        """Tell whether no more blocks will come out."""
        return self.stopped or self._over
