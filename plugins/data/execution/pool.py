"""Which actors an operator has and what each of them has been given."""

from __future__ import annotations


class ActorPool:
    """Numbers of actors and of the tasks that they have.

    Parameters: `first` is how many there are to be at the beginning, `most` at most, `cpus` what one of them takes,
    `in_flight` how many tasks one may have at a time, `least` how many stay when there is nothing to do (None:
    `first`).

    Example: `pool = ActorPool(first=1, most=4, cpus=1.0, in_flight=2)`
    """

    def __init__(self, first: int, most: int, cpus: float, in_flight: int, least: int | None = None) -> None:
        self.least = first if least is None else least
        self.first = first
        self.most = most
        self.begun = 0  # actors that were ever started
        self.idled = 0  # decisions in a row that found an actor idle and nothing for it
        self.cpus = cpus
        self.actors: dict[int, set[int]] = {}
        self._in_flight = in_flight
        self._of_task: dict[int, int] = {}

    def free(self) -> bool:
        """Tell whether an actor can be given a task."""
        return any(len(tasks) < self._in_flight for tasks in self.actors.values())

    def idle(self) -> bool:
        """Tell whether an actor has no task."""
        return not all(self.actors.values())

    def add(self, actor: int) -> None:
        """Note that an actor is started."""
        self.actors[actor] = set()
        self.begun += 1
        self.idled = 0

    def remove_idle(self) -> int:
        """Take out an actor that has nothing to do, and return it."""
        actor = next(each for each, tasks in self.actors.items() if not tasks)
        del self.actors[actor]
        return actor

    def take(self, task: int) -> int:
        """Give a task to the actor that has fewest, and return it."""
        actor = min(self.actors, key=lambda each: len(self.actors[each]))
        self.actors[actor].add(task)
        self._of_task[task] = actor
        return actor

    def give_back(self, task: int) -> None:
        """Note that a task has ended."""
        self.actors[self._of_task.pop(task)].discard(task)
