"""Quotas of jobs over a whole cluster: the head gives nodes portions, and never more together than the quota.

A node asks for a number of like units at a time and gets some of them at once, or waits in the order it asked; while it
waits the other nodes are *tight*: what they have and do not use comes back. The ledger holds what a node may still
believe it has, so what is under way in either direction counts as given; a node that has connected again tells its
portions before it is given more, and after the head was lost nothing is given until all nodes have told (or are dead).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

HEAD = 0  # waits for quota for what it has not placed yet
_Units = dict[str, int]
_Unit = tuple[tuple[str, int], ...]


@attrs.frozen
class Give:
    """A node gets a portion more: to use at once, or for something that the head asks of it next."""

    node: int
    job: bytes
    units: Mapping[str, int]
    use: bool = True


@attrs.frozen
class Tell:
    """A node is to give back what it does not use (or no longer)."""

    node: int
    job: bytes
    tight: bool


class QuotaLedger:
    """All quotas of a cluster. `take_effects` returns what has come of the events so far, in order."""

    def __init__(self) -> None:
        self._quotas: dict[bytes, Mapping[str, int]] = {}
        self._given: dict[bytes, dict[int, _Units]] = {}  # job → node → units
        self._waiting: dict[bytes, dict[tuple[int, _Unit], int]] = {}  # job → (node, unit) → how many
        self._told: set[tuple[bytes, int]] = set()  # tight ones
        self._nodes: set[int] = set()
        self._unsettled: set[int] = set()  # nodes that have not told what they have
        self._effects: list[Give | Tell] = []

    # Events

    def job(self, job: bytes, quota: Mapping[str, int]) -> None:
        """A job has a quota."""
        if quota:
            self._quotas[job] = dict(quota)

    def forget(self, job: bytes) -> None:
        """A job is over, and nothing of it is left."""
        self._quotas.pop(job, None)
        self._given.pop(job, None)
        self._waiting.pop(job, None)
        self._told = {pair for pair in self._told if pair[0] != job}

    def restore(self, nodes: Iterable[int]) -> None:
        """These nodes lived when the last head ended, with portions that it gave."""
        self._unsettled.update(nodes)

    def joined(self, node: int, is_new: bool) -> None:
        """A node has connected; one that was there before is to tell what it has."""
        self._nodes.add(node)
        if not is_new:
            self._unsettled.add(node)
            self._forget_waiting(node)
            self._told = {pair for pair in self._told if pair[1] != node}
        self._go_on()

    def settled(self, node: int, portions: Mapping[bytes, Mapping[str, int]]) -> None:
        """A node that has connected again tells its portions."""
        self._unsettled.discard(node)
        for given in self._given.values():
            given.pop(node, None)
        for job, units in portions.items():
            self._given.setdefault(job, {})[node] = dict(units)
        self._go_on()

    def node_gone(self, node: int) -> None:
        """A node is dead: what it had is free."""
        self._nodes.discard(node)
        self._unsettled.discard(node)
        for given in self._given.values():
            given.pop(node, None)
        self._forget_waiting(node)
        self._told = {pair for pair in self._told if pair[1] != node}
        self._go_on()

    def ask(self, node: int, job: bytes, unit: Mapping[str, int], count: int) -> None:
        """A node can use `count` units more. One question for the same unit takes the place of another."""
        if job in self._quotas:
            self._waiting.setdefault(job, {})[node, tuple(sorted(unit.items()))] = max(1, count)
            self._serve(job)

    def returned(self, node: int, job: bytes, units: Mapping[str, int]) -> None:
        """A node gives a part of its portion back."""
        given = self._given.get(job, {}).get(node)
        if given is None or node in self._unsettled:
            return  # it will tell, or has told, what it has now
        for name, amount in units.items():
            left = given.get(name, 0) - amount
            if left > 0:
                given[name] = left
            else:
                given.pop(name, None)
        self._serve(job)

    def take(self, job: bytes, parts: Mapping[int, Mapping[str, int]]) -> bool:
        """Give several nodes portions at once, or none: for what the head places. False: it waits."""
        if job not in self._quotas:
            return True
        bounded = {node: self._bounded(job, units) for node, units in parts.items()}
        together: _Units = {}
        for units in bounded.values():
            for name, amount in units.items():
                together[name] = together.get(name, 0) + amount
        if not together:
            return True
        if self._unsettled or not self._fits(job, together):
            self.ask(HEAD, job, together, 1)
            return False
        self._waiting.get(job, {}).pop((HEAD, tuple(sorted(together.items()))), None)
        for node, units in bounded.items():
            if units:
                self._give(job, node, units, use=False)
        self._tell(job)
        return True

    def forget_head(self) -> None:
        """The head tries anew what it waits for: `take` says again what it lacks, and `tell_all` when it is done."""
        self._forget_waiting(HEAD)

    def tell_all(self) -> None:
        """Say which nodes are tight now."""
        for job in self._quotas:
            self._tell(job)

    # Inside

    def _bounded(self, job: bytes, units: Mapping[str, int]) -> _Units:
        quota = self._quotas[job]
        return {name: amount for name, amount in units.items() if name in quota and amount}

    def _fits(self, job: bytes, units: Mapping[str, int]) -> bool:
        quota = self._quotas[job]
        given = self._given.get(job, {}).values()
        return all(
            sum(one.get(name, 0) for one in given) + amount <= quota.get(name, 0)
            for name, amount in units.items()
        )

    def _give(self, job: bytes, node: int, units: Mapping[str, int], use: bool = True) -> None:
        given = self._given.setdefault(job, {}).setdefault(node, {})
        for name, amount in units.items():
            given[name] = given.get(name, 0) + amount
        self._effects.append(Give(node, job, dict(units), use))

    def _serve(self, job: bytes) -> None:
        """Give what fits to who waits, in the order they asked."""
        waiting = self._waiting.get(job, {})
        if not self._unsettled:
            for (node, unit), count in list(waiting.items()):
                if node == HEAD:
                    continue  # it looks itself, where it knows on which nodes
                done = 0
                while done < count and self._fits(job, {name: amount * (done + 1) for name, amount in unit}):
                    done += 1
                if done:
                    del waiting[node, unit]
                    self._give(job, node, {name: amount * done for name, amount in unit})
        self._tell(job)

    def _tell(self, job: bytes) -> None:
        """A node is tight while another one (or the head) waits."""
        waiters = {node for node, _ in self._waiting.get(job, {})}
        for node in self._nodes:
            tight = bool(waiters - {node})
            if tight != ((job, node) in self._told):
                (self._told.add if tight else self._told.discard)((job, node))
                self._effects.append(Tell(node, job, tight))

    def _forget_waiting(self, node: int) -> None:
        for waiting in self._waiting.values():
            for key in [key for key in waiting if key[0] == node]:
                del waiting[key]

    def _go_on(self) -> None:
        for job in list(self._quotas):
            self._serve(job)

    # Views

    def take_effects(self) -> list[Give | Tell]:
        """Return what is to be sent to nodes, once."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def head_waits(self) -> bool:
        """Whether the head lacks quota for something."""
        return any(node == HEAD for waiting in self._waiting.values() for node, _ in waiting)

    def head_may_try(self) -> bool:
        """Tell whether something that the head waits for would fit now."""
        return not self._unsettled and any(
            node == HEAD and self._fits(job, dict(unit))
            for job, waiting in self._waiting.items()
            for node, unit in waiting
        )

    def given(self, job: bytes) -> Mapping[int, Mapping[str, int]]:
        """Return what each node has of a job's quota."""
        return self._given.get(job, {})

    def validate(self) -> None:
        """Raise AssertionError if more was given than a quota allows."""
        for job, quota in self._quotas.items():
            for name, most in quota.items():
                assert sum(one.get(name, 0) for one in self._given.get(job, {}).values()) <= most, (job, name)
        assert self._unsettled.isdisjoint({HEAD})
