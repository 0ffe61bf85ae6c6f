"""What really happened in a simulated cluster: seen by no process in it, and judged at the end."""

from __future__ import annotations

from collections import Counter


class Truth:
    """Counts executions and watches that no actor lives twice.

    Processes of the model report to it as a matter of fact; none of them may ask it.
    """

    def __init__(self) -> None:
        self.executions: Counter[str] = Counter()  # a task's or call's name → how often it was begun
        self.endings: Counter[str] = Counter()  # a task's or call's name → how often its owner heard its end
        self.outcomes: dict[str, str] = {}
        self.wrongs: list[str] = []
        self._alive: dict[bytes, dict[str, int]] = {}  # actor → worker → incarnation

    def begun(self, name: str) -> None:
        """A worker begins to execute something."""
        self.executions[name] += 1

    def ended(self, name: str, outcome: str) -> None:
        """An owner has heard the end of what it submitted."""
        self.endings[name] += 1
        self.outcomes[name] = outcome
        if self.endings[name] > 1:
            self.wrongs.append(f"{name} ended {self.endings[name]} times")

    def actor_lives(self, actor: bytes, worker: str, incarnation: int) -> None:
        """An actor's instance is there."""
        lives = self._alive.setdefault(actor, {})
        if lives:
            self.wrongs.append(f"actor {actor.hex()} lives in {worker} and in {', '.join(lives)}")
        lives[worker] = incarnation

    def actor_gone(self, actor: bytes, worker: str) -> None:
        """An actor's instance is gone with its worker."""
        self._alive.get(actor, {}).pop(worker, None)

    def living_actors(self) -> dict[bytes, list[str]]:
        """Return the actors whose instances are there, and where."""
        return {actor: sorted(lives) for actor, lives in self._alive.items() if lives}
