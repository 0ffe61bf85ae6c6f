"""A network of connections between processes: ordered streams that are late, stall, break and are made anew.

What the model knows of TCP: bytes of one direction come in order or not at all; a lost packet is sent again and makes
everything behind it late; a peer that is cut off is noticed only after a silence, by each end at a time of its own; a
process that dies closes its connections, a machine that dies does not.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from shoal.sim.world import World

if TYPE_CHECKING:
    from shoal.sim.process import Process


@attrs.frozen(kw_only=True)
class Weather:
    """How the network behaves. Times in seconds, chances from 0 to 1 a message."""

    delay: float = 0.0005  # the least that a message takes between machines
    jitter: float = 0.001  # up to so much more
    loss: float = 0.0  # chance that a packet is lost and sent again
    resend: float = 0.2  # what a lost packet costs
    breaks: float = 0.0  # chance that a connection breaks at a message
    silence: float = 5.0  # after so long without a sign a connection is given up, by each end for itself
    bandwidth: float = 1.25e9  # bytes a second of one transfer between machines


class Connection:
    """One end's view of a stream; `peer` is the other end's."""

    __slots__ = ("_network", "_ready_at", "name", "open", "owner", "peer", "under_way")

    def __init__(self, network: Network, owner: Process, name: str) -> None:
        self._network = network
        self.owner = owner
        self.name = name
        self.open = True
        self.peer: Connection = self
        self.under_way: deque[Any] = deque()  # sent from here, not delivered yet
        self._ready_at = 0.0

    @property
    def other(self) -> Process:
        """The process at the other end."""
        return self.peer.owner

    def send(self, message: Any) -> None:
        """Send a message. Nothing is heard of it if the stream has broken or breaks before it arrives."""
        if self.open:
            self._network.carry(self, message)

    def close(self) -> None:
        """Close this end; the other one hears of it, after what was sent before."""
        if self.open:
            self.open = False
            self._network.hang_up(self)

    def arrival(self, delay: float, now: float) -> float:
        """Return when a message sent now arrives: never before one that was sent earlier."""
        self._ready_at = max(self._ready_at, now + delay)
        return self._ready_at


class Network:
    """All connections, and who can reach whom. Machines are named; processes live on machines."""

    def __init__(self, world: World, weather: Weather | None = None) -> None:
        self.world = world
        self.weather: Weather = weather or Weather()
        self._chance = world.chance("network")
        self._processes: dict[str, Process] = {}
        self._ends: dict[str, dict[Connection, None]] = {}  # a process's name → its open ends
        self._cuts: list[tuple[frozenset[str], frozenset[str]]] = []
        self._slow: dict[str, float] = {}
        self._count = 0

    def attach(self, process: Process) -> None:
        """Let a process be found by its name, which replaces an earlier one of that name."""
        self._processes[process.name] = process
        self._ends[process.name] = {}

    def process(self, name: str) -> Process | None:
        """Return the process of that name, dead or alive."""
        return self._processes.get(name)

    def reach(self, one: str, other: str) -> bool:
        """Tell whether machines reach each other."""
        return not any((one in a and other in b) or (one in b and other in a) for a, b in self._cuts)

    def cut(self, one: frozenset[str], other: frozenset[str]) -> None:
        """Let no message pass between two sets of machines. Connections stall; each end gives up after a silence."""
        self._cuts.append((one, other))
        self.world.note("cut", ",".join(sorted(one)), ",".join(sorted(other)))
        for ends in self._ends.values():
            for end in ends:
                if not self.reach(end.owner.machine, end.other.machine):
                    wait = self.weather.silence * self._chance.uniform(1.0, 1.5)
                    self.world.after(wait, self._give_up, end)

    def heal(self, one: frozenset[str], other: frozenset[str]) -> None:
        """Undo one cut. What stalls is sent again soon; what was given up stays broken."""
        self._cuts.remove((one, other))
        self.world.note("heal", ",".join(sorted(one)), ",".join(sorted(other)))

    def slow(self, machine: str, factor: float) -> None:
        """Make everything from and to a machine so many times slower; 1 undoes it."""
        self._slow[machine] = factor

    def connect(self, owner: Process, name: str) -> None:
        """Connect to the process of that name: `owner.connected(end)` or `owner.refused(name)` follows."""
        world = self.world
        target = self._processes.get(name)
        if target is not None and self.reach(owner.machine, target.machine) and target.machine_alive:
            delay = self._delay(owner.machine, target.machine)
            world.after(2 * delay, self._connected, owner, owner.life, name)
        else:
            world.after(self.weather.silence, self._refused, owner, owner.life, name)

    def _connected(self, owner: Process, life: int, name: str) -> None:
        target = self._processes.get(name)
        if not owner.alive or owner.life != life:
            return
        if target is None or not target.alive or not self.reach(owner.machine, target.machine):
            owner.refused(name)
            return
        self._count += 1
        here, there = (Connection(self, each, f"{self._count}") for each in (owner, target))
        here.peer, there.peer = there, here
        self._ends[owner.name][here] = None
        self._ends[target.name][there] = None
        target.accepted(there)
        if here.open:
            owner.connected(here)

    def _refused(self, owner: Process, life: int, name: str) -> None:
        if owner.alive and owner.life == life:
            owner.refused(name)

    def carry(self, end: Connection, message: Any) -> None:
        """Bring a message to the other end, or break the stream."""
        world, weather, chance = self.world, self.weather, self._chance
        delay = self._delay(end.owner.machine, end.other.machine)
        if weather.loss and chance.random() < weather.loss:
            delay += weather.resend
        if weather.breaks and chance.random() < weather.breaks:
            world.note("break", end.owner.name, end.other.name)
            world.after(delay, self._broken, end)
            world.after(self._delay(end.owner.machine, end.other.machine), self._broken, end.peer)
            end.open = False  # what is sent from now on is lost; the owner hears of it later
            return
        end.under_way.append(message)
        world.at(end.arrival(delay, world.now), self._deliver, end.peer)

    def _deliver(self, end: Connection) -> None:
        """Hand over the oldest message under way: there is one such event for each."""
        owner = end.owner
        if end not in self._ends.get(owner.name, ()):
            end.peer.under_way.popleft()
            if owner.machine_alive:
                self.world.after(self.weather.delay, self._broken, end.peer)  # nobody listens here any more
            return
        if not self.reach(owner.machine, end.other.machine):
            # Sent again until it passes or an end gives up: nothing behind it may pass it.
            retry = max(self.weather.resend, 1e-6)
            self.world.at(end.peer.arrival(retry, self.world.now), self._deliver, end)
            return
        message = end.peer.under_way.popleft()
        if end.open and owner.alive:
            owner.received(end, message)

    def _delay(self, one: str, other: str) -> float:
        if one == other:
            return 0.00005
        weather = self.weather
        return (weather.delay + weather.jitter * self._chance.random()) * max(
            self._slow.get(one, 1.0), self._slow.get(other, 1.0)
        )

    def transfer_seconds(self, one: str, other: str, size: int) -> float:
        """Return how long so many bytes take from one machine to another."""
        if one == other:
            return 0.0
        return self._delay(one, other) + size / self.weather.bandwidth

    # Ends of connections

    def hang_up(self, end: Connection) -> None:
        """The owner closed its end."""
        self._forget(end)
        delay = self._delay(end.owner.machine, end.other.machine)
        self.world.at(end.arrival(delay, self.world.now), self._hear_end, end.peer)

    def _hear_end(self, end: Connection) -> None:
        if end not in self._ends.get(end.owner.name, ()):
            return
        if not self.reach(end.owner.machine, end.other.machine):
            self.world.after(self.weather.silence, self._broken, end)
            return
        self._broken(end)

    def _broken(self, end: Connection) -> None:
        owner = end.owner
        if end in self._ends.get(owner.name, ()):
            self._forget(end)
            end.open = False
            # If nothing else tells the other end, a probe of a stream on which nothing has passed for long does.
            self.world.after(self.weather.silence, self._broken, end.peer)
            if owner.alive:
                owner.closed(end)

    def _give_up(self, end: Connection) -> None:
        if end in self._ends.get(end.owner.name, ()) and not self.reach(end.owner.machine, end.other.machine):
            self._broken(end)

    def _forget(self, end: Connection) -> None:
        self._ends.get(end.owner.name, {}).pop(end, None)

    def died(self, process: Process, with_machine: bool) -> None:
        """A process is gone. Its peers hear of it at once, or only by silence if its machine went with it."""
        for end in list(self._ends.get(process.name, ())):
            end.open = False
            wait = self.weather.silence * self._chance.uniform(1.0, 1.5) if with_machine else None
            self._forget(end)
            if wait is None:
                wait = self._delay(end.owner.machine, end.other.machine)
                self.world.at(end.arrival(wait, self.world.now), self._hear_end, end.peer)
            else:
                self.world.after(wait, self._broken, end.peer)

    def open_ends(self) -> int:
        """Return how many ends of connections there are."""
        return sum(map(len, self._ends.values()))
