"""The nodes of a plan: frozen values that refer to what they work on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from shoal.data.compute import ActorPoolStrategy, TaskPoolStrategy
from shoal.data.exchanges import Exchange
from shoal.data.execution.bundle import Bundle
from shoal.data.sinks.datasink import Datasink
from shoal.data.sources.datasource import Datasource
from shoal.data.transforms import Transform


@attrs.frozen(eq=False)
class Node:
    """One step of a plan. `inputs` are the steps whose blocks it takes."""

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The steps that this one takes blocks from."""
        return ()

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return type(self).__name__


@attrs.frozen(eq=False)
class Read(Node):
    """Reads a source in about `blocks` pieces, and transforms what each gives in the same task."""

    source: Datasource
    transforms: tuple[Transform, ...] = ()
    blocks: int | None = None
    limit: int | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)
    concurrency: int | None = None
    narrowed: bool = False  # whether the columns that later steps use have been looked for

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return " → ".join([f"Read{self.source.describe()}", *(each.label for each in self.transforms)])


@attrs.frozen(eq=False)
class InputBlocks(Node):
    """Blocks that exist."""

    bundles: tuple[Bundle, ...]


@attrs.frozen(eq=False)
class OneInput(Node):
    """A step with one input."""

    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The steps that this one takes blocks from."""
        return (self.input,)


@attrs.frozen(eq=False)
class Map(OneInput):
    """Transforms that run one after another on each block, in one task or actor."""

    transforms: tuple[Transform, ...]
    compute: TaskPoolStrategy | ActorPoolStrategy = attrs.field(factory=TaskPoolStrategy)
    options: Mapping[str, Any] = attrs.field(factory=dict)
    rows_at_least: int | None = None  # a task is given blocks of so many rows together

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return " → ".join(transform.label for transform in self.transforms)


@attrs.frozen(eq=False)
class Write(OneInput):
    """Writes blocks to a sink; what comes out is one row for each task."""

    sink: Datasink[Any]
    options: Mapping[str, Any] = attrs.field(factory=dict)
    concurrency: int | None = None

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"Write{self.sink.describe()}"


@attrs.frozen(eq=False)
class Limit(OneInput):
    """Passes the first rows on and stops what is before it."""

    rows: int

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"Limit({self.rows})"


@attrs.frozen(eq=False)
class AllToAll(OneInput):
    """Each block that comes out may have rows of every block that went in."""

    exchange: Exchange
    options: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return self.exchange.label


@attrs.frozen(eq=False)
class Repartition(OneInput):
    """The same rows in the same order in `blocks` blocks of nearly equal length, or of `rows` rows each."""

    blocks: int | None
    rows: int | None = None

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"Repartition({self.blocks if self.blocks is not None else f'{self.rows} rows'})"


@attrs.frozen(eq=False)
class ShuffleBlocks(OneInput):
    """The same blocks in a random order."""

    seed: int | None

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "RandomizeBlockOrder"


@attrs.frozen(eq=False)
class Union(Node):
    """The blocks of all inputs, one input after the other."""

    parts: tuple[Node, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The steps that this one takes blocks from."""
        return self.parts


@attrs.frozen(eq=False)
class Zip(Node):
    """The columns of two inputs side by side."""

    left: Node
    right: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The steps that this one takes blocks from."""
        return (self.left, self.right)


@attrs.frozen(eq=False)
class JoinInputs(Node):
    """Rows of two inputs with equal keys side by side."""

    left: Node
    right: Node
    exchange: Exchange
    options: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The steps that this one takes blocks from."""
        return (self.left, self.right)

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return self.exchange.label


def lines(node: Node, depth: int = 0) -> Iterator[str]:
    """Yield the plan as lines, what comes last first, inputs indented below.

    Example: `print("\\n".join(lines(node)))`
    """
    yield "   " * depth + ("└─ " if depth else "") + node.label
    for each in node.inputs:
        yield from lines(each, depth + 1)


def nodes(node: Node) -> Iterator[Node]:
    """Yield a node and all that it stands on.

    Example: `sum(isinstance(each, Read) for each in nodes(plan))`
    """
    yield node
    for each in node.inputs:
        yield from nodes(each)
