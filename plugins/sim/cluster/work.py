"""What a driver of the model does: a graph of tasks, calls of actors, and placement groups."""

from __future__ import annotations

import random

import attrs

INLINE = 100 * 1024  # results up to this size, in bytes, travel in the answer


@attrs.frozen(kw_only=True)
class TaskWork:
    """One task. `needs` names tasks whose results are its arguments."""

    name: str
    cpus: float = 1.0
    seconds: float = 1.0
    result_bytes: int = 100
    needs: tuple[str, ...] = ()
    max_retries: int = 3
    group: str = ""  # the placement group whose bundles it runs in
    submit_at: float = 0.0


@attrs.frozen(kw_only=True)
class ActorWork:
    """One actor and how often it is called, one call after the other without waiting."""

    name: str
    cpus: float = 1.0
    max_restarts: int = 1
    max_task_retries: int = 0
    calls: int = 5
    call_seconds: float = 0.1
    create_at: float = 0.0


@attrs.frozen(kw_only=True)
class GroupWork:
    """One placement group, removed when the tasks in it have ended."""

    name: str
    bundles: tuple[float, ...] = (1.0,)  # CPUs of each
    strategy: str = "PACK"
    create_at: float = 0.0


@attrs.frozen(kw_only=True)
class Work:
    """All that one driver does."""

    tasks: tuple[TaskWork, ...] = ()
    actors: tuple[ActorWork, ...] = ()
    groups: tuple[GroupWork, ...] = ()

    def allowed(self) -> dict[str, int]:
        """Return how often each task and call may be executed at most."""
        most = {task.name: 1 + task.max_retries for task in self.tasks}
        for actor in self.actors:
            for number in range(actor.calls):
                most[f"{actor.name}.{number}"] = 1 + actor.max_task_retries
        return most


def random_work(chance: random.Random, prefix: str = "") -> Work:
    """Draw work: some dozens of tasks that depend on each other, a few actors, a few groups."""
    groups = tuple(
        GroupWork(
            name=f"{prefix}group-{number}",
            bundles=tuple(chance.choice((0.5, 1.0)) for _ in range(chance.randint(1, 3))),
            strategy=chance.choice(("PACK", "SPREAD", "STRICT_PACK")),
            create_at=chance.uniform(0, 3),
        )
        for number in range(chance.randint(0, 3))
    )
    tasks: list[TaskWork] = []
    for number in range(chance.randint(5, 40)):
        earlier = [task.name for task in tasks]
        group = chance.choice(groups).name if groups and chance.random() < 0.2 else ""
        tasks.append(
            TaskWork(
                name=f"{prefix}task-{number}",
                cpus=0.5 if group else chance.choice((0.5, 1.0, 1.0, 2.0)),
                seconds=chance.choice((0.01, 0.1, 0.5, 2.0)),
                result_bytes=chance.choice((10, 10, 10 * INLINE, 100 * INLINE)),
                # What holds a group needs nothing from outside: groups that fill the cluster would wait for ever.
                needs=()
                if group
                else tuple(chance.sample(earlier, min(len(earlier), chance.choice((0, 0, 1, 2))))),
                max_retries=chance.choice((0, 1, 3, 3)),
                group=group,
                submit_at=chance.uniform(0, 5),
            )
        )
    actors = tuple(
        ActorWork(
            name=f"{prefix}actor-{number}",
            cpus=chance.choice((0.0, 1.0)),
            max_restarts=chance.choice((0, 1, 3)),
            max_task_retries=chance.choice((0, 0, 2)),
            calls=chance.randint(1, 8),
            call_seconds=chance.choice((0.01, 0.3)),
            create_at=chance.uniform(0, 5),
        )
        for number in range(chance.randint(0, 3))
    )
    return Work(tasks=tuple(tasks), actors=actors, groups=groups)
