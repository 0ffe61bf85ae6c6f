"""Which actors an operator has and what each of them has been given."""

from __future__ import annotations


class ActorPool:
    """Numbers of actors and of the tasks that they have.

    Parameters: `first` is how many there are to be at the beginning, `most` at most, `cpus` what one of them takes,
    `in_flight` how many tasks one may have at a time.

    Example: `pool = ActorPool(first=1, most=4, cpus=1.0, in_flight=2)`
    """

    def __init__(self, first: int, most: int, cpus: float, in_flight: int) -> None:
        self.first = first
        self.most = most
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

    def take(self, task: int) -> int:
        """Give a task to the actor that has fewest, and return it."""
        actor = min(self.actors, key=lambda each: len(self.actors[each]))
        self.actors[actor].add(task)
        self._of_task[task] = actor
        return actor

    def give_back(self, task: int) -> None:
        """Note that a task has ended."""
        self.actors[self._of_task.pop(task)].discard(task)
