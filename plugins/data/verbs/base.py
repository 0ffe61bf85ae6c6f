"""What all families of verbs stand on: a plan, the settings it was made with, and how both are carried out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from shoal.data.block import Block
from shoal.data.context import DataContext
from shoal.data.execution.bundle import Bundle
from shoal.data.execution.executor import Execution
from shoal.data.execution.stats import ExecutionStats
from shoal.data.iteration import fetched
from shoal.data.plan.logical import InputBlocks, Limit, Node, lines
from shoal.data.plan.rules import optimise

Self = TypeVar("Self", bound="Planned")


class Planned:
    """A plan and its settings. Nothing of it has been done, unless it is made of blocks that exist."""

    def __init__(self, plan: Node, context: DataContext | None = None) -> None:
        self._plan = plan
        self._context = context or DataContext.get_current().copy()
        self._stats: ExecutionStats | None = None
        self._known_schema: Any = None
        self._name: str | None = None
        self._id: str | None = None

    @property
    def context(self) -> DataContext:
        """The settings of this dataset; changing them changes how it is executed from then on."""
        return self._context

    def explain(self) -> str:
        """Return the plan as it was written and as it will be carried out, last step first.

        Example: `print(ds.explain())`
        """
        return "\n".join(
            [
                "As written:",
                *lines(self._plan),
                "",
                "As executed:",
                *lines(optimise(self._plan, self._context.max_errored_blocks != 0)),
            ]
        )

    def stats(self) -> str:
        """Return what the last execution did, operator by operator; what has not been executed says so.

        Example: `print(ds.materialize().stats())`
        """
        return "not executed yet" if self._stats is None else self._stats.text()

    def _with(self: Self, plan: Node) -> Self:
        return type(self)._made_of(plan, self._context)  # type: ignore[return-value]

    @classmethod
    def _made_of(cls, plan: Node, context: DataContext) -> Planned:
        return cls(plan, context)

    def _execution(self, plan: Node | None = None) -> Execution:
        """Make ready to execute the plan (or another one that stands on it), and remember what the execution does."""
        execution = Execution(plan or self._plan, self._context)
        self._stats = execution.stats
        return execution

    def _bundles(self, plan: Node | None = None, execution: Execution | None = None) -> Iterator[Bundle]:
        """Execute the plan, another one that stands on it, or what was made ready."""
        run = iter(execution or self._execution(plan))
        try:
            for bundle in run:
                if (
                    bundle.schema is not None
                    and len(bundle.schema)
                    and self._known_schema is None
                    and plan is None
                ):
                    self._known_schema = bundle.schema
                yield bundle
        finally:
            run.close()  # type: ignore[attr-defined]

    def _blocks(self, plan: Node | None = None) -> Iterator[Block]:
        return fetched(self._bundles(plan))

    def _schema_so_far(self) -> Any:
        """The Arrow schema as far as it is known."""
        if self._known_schema is None and isinstance(self._plan, InputBlocks):
            return self._schema()
        return self._known_schema

    def _schema(self) -> Any:
        """The Arrow schema; the first rows are computed if it is not known."""
        if self._known_schema is None:
            if isinstance(self._plan, InputBlocks):
                schemas = [
                    each.schema for each in self._plan.bundles if each.schema is not None and len(each.schema)
                ]
                self._known_schema = schemas[0] if schemas else None
            else:
                for bundle in self._bundles(Limit(self._plan, 1)):
                    if bundle.schema is not None and len(bundle.schema):
                        self._known_schema = bundle.schema
                        break
        return self._known_schema

    def __repr__(self) -> str:
        steps = [line.strip().removeprefix("└─ ") for line in lines(self._plan)]
        named = "" if self._name is None else f"{self._name}: "
        return f"{type(self).__name__}({named}{' ← '.join(steps)})"
