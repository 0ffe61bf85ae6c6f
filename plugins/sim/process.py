"""A simulated process: a state machine that is told of messages, connections and timers."""

from __future__ import annotations

from typing import Any

from shoal.sim.network import Connection, Network
from shoal.sim.world import Action, World


class Machine:
    """A computer with a clock of its own: ahead or behind by `offset` seconds, and fast or slow by `drift`."""

    def __init__(self, name: str, offset: float = 0.0, drift: float = 0.0) -> None:
        self.name = name
        self.offset = offset
        self.drift = drift
        self.alive = True


class Process:
    """Base of everything that runs in the simulated cluster. It reads only its own clock.

    A process that was crashed may be begun again: it is then a new life, and no timer or message of an earlier life
    reaches it. Subclasses override what they care for.
    """

    def __init__(self, network: Network, machine: Machine, name: str) -> None:
        self.network = network
        self.world: World = network.world
        self.computer = machine
        self.machine = machine.name
        self.name = name
        self.life = 0
        self.alive = False

    # Life

    def begin(self) -> None:
        """Start, for the first time or again."""
        self.life += 1
        self.alive = True
        self.network.attach(self)
        self.world.note("begin", self.name, self.life)
        self.started()

    def crash(self, with_machine: bool = False) -> None:
        """End at once, without a word."""
        if self.alive:
            self.alive = False
            self.world.note("crash", self.name, with_machine)
            self.network.died(self, with_machine)
            self.lost()

    @property
    def machine_alive(self) -> bool:
        """Whether the computer runs, with or without this process."""
        return self.computer.alive

    def clock(self) -> float:
        """Return the time on this machine's clock, in seconds: it need not agree with any other."""
        return self.world.now * (1.0 + self.computer.drift) + self.computer.offset

    def after(self, seconds: float, action: Action, *args: Any) -> None:
        """Call something in so many seconds of this machine's clock, if this life lasts."""
        self.world.after(seconds / (1.0 + self.computer.drift), self._in_life, self.life, action, args)

    def _in_life(self, life: int, action: Action, args: tuple[Any, ...]) -> None:
        if self.alive and self.life == life:
            action(*args)

    def connect(self, name: str) -> None:
        """Connect to a process by name: `connected` or `refused` is called later."""
        self.network.connect(self, name)

    # What happens to it

    def started(self) -> None:
        """It has begun a life."""

    def lost(self) -> None:
        """It has died: forget what was only in memory. Nothing can be sent any more."""

    def connected(self, end: Connection) -> None:
        """A connection that it asked for is there."""

    def refused(self, name: str) -> None:
        """A connection that it asked for could not be had."""

    def accepted(self, end: Connection) -> None:
        """Another process has connected."""

    def received(self, end: Connection, message: Any) -> None:
        """A message has come."""

    def closed(self, end: Connection) -> None:
        """A connection has ended, or was given up."""
