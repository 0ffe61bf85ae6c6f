"""What a row is: a function that measures, and what is asked of its number."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from harness.measure import Bench, Reading

# In the order in which they run and are printed. Each is a module of `rows`.
FAMILIES = (
    "objects",
    "tasks",
    "actors",
    "async_actors",
    "waiting",
    "groups",
    "graphs",
    "utilities",
    "data",
    "train",
    "serve",
    "tune",
    "rllib",
    "scale",
    "scheduling",
    "cluster",
    "many_nodes",
    "startup",
    "memory",
)
FLOOR = "floor"
REFERENCE = "ray"
OURS = "shoal"


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table."""

    name: str
    run: Callable[[Bench], Reading]
    unit: str = "/s"
    less_is_better: bool = False
    required: float | None = 1.0  # how many times better than the reference system; None: not compared
    floor: str | None = None  # the name of the floor's row that it is measured by
    share: float | None = None  # how much of that floor it must reach
    limit: float | None = None  # what our own number must reach, or must not pass if less is better
    seconds: float = 60.0  # after this it is ended, and the others go on
    once: bool = False  # too long for every round
    only_ours: bool = False

    def runs_on(self, system: str) -> bool:
        return not self.only_ours or system == OURS


@attrs.frozen
class Family:
    """The rows of one module, in its order. They share one session per system and round."""

    name: str
    rows: tuple[Row, ...]
    session: bool  # whether a session is started for them
    resources: dict[str, float]


class Rows(list[Row]):
    """The rows of one module: `@ROWS.row("name", …)` adds the function that follows."""

    def row(self, name: str, **fields: object) -> Callable[[Callable[[Bench], Reading]], Row]:
        def add(run: Callable[[Bench], Reading]) -> Row:
            made = Row(name=name, run=run, **fields)  # type: ignore[arg-type]
            self.append(made)
            return made

        return add


def load_family(name: str) -> Family:
    """Import the module of a family, `floors` included."""
    module = importlib.import_module(f"rows.{name}")
    return Family(
        name,
        tuple(module.ROWS),
        getattr(module, "SESSION", True),
        dict(getattr(module, "RESOURCES", {})),
    )


def load_families() -> list[Family]:
    """Import all but the floors."""
    return [load_family(name) for name in FAMILIES]
