"""Finding races: a program is run in many orders, and the seed of one that fails is told.

The engine `inline` chooses the order of tasks and actor calls by a seed. No pytest in here: programs may use it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import attrs

import shoal
from shoal.interfaces.current import current

_SHOWN = 40  # turns of the failing order that the message shows


class OrderFailed(AssertionError):
    """A program failed in one order. `seed` replays it, `order` is who had a turn; the error itself is the cause."""

    def __init__(self, seed: int, tried: int, order: tuple[str, ...], error: str) -> None:
        super().__init__(seed, tried, order, error)
        self.seed = seed
        self.tried = tried
        self.order = order
        self.error = error

    def __str__(self) -> str:
        shown = " → ".join(self.order[-_SHOWN:])
        return (
            f"seed {self.seed} fails (order {self.tried} of those tried): {self.error}\n"
            f"Replay it with explore(program, seeds=[{self.seed}]), or "
            f"shoal.init(engine='inline', engine_options={{'order': 'random', 'seed': {self.seed}}}).\n"
            f"Who had a turn{' (the last ' + str(_SHOWN) + ')' if len(self.order) > _SHOWN else ''}: {shown}"
        )


@attrs.frozen(kw_only=True)
class Explored:
    """What `explore` went through: how many seeds, and how many different orders they gave."""

    seeds: int
    orders: int


def explore(program: Callable[[], Any], seeds: Iterable[int] = range(100), **settings: Any) -> Explored:
    """Run a program once for each seed, each time in a session of its own and in an order of that seed.

    Parameters: `program` takes nothing and fails by raising; it must not call init(). `seeds` are whole numbers;
    `settings` go to `shoal.init`.
    Raises OrderFailed for the first seed with which the program raises, with its error as the cause; RuntimeError if
    there is a session already.

    Example: `explore(test_transfer, seeds=range(500), num_cpus=4)`
    """
    orders: set[tuple[str, ...]] = set()
    tried = 0
    for seed in seeds:
        tried += 1
        options = {"order": "random", "seed": seed}
        with shoal.init(engine="inline", engine_options=options, **settings):
            engine: Any = current.engine
            try:
                program()
            except Exception as error:  # whatever the program says is wrong
                raise OrderFailed(seed, tried, engine.order, f"{type(error).__name__}: {error}") from error
            orders.add(engine.order)
    return Explored(seeds=tried, orders=len(orders))
