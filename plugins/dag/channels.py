"""The channels of a compiled graph: made, given to the actors' loops, watched, and taken away."""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs

import shoal
from shoal.dag import loop
from shoal.dag.backend import Backend, Outcome
from shoal.dag.context import DAGContext
from shoal.dag.failures import ChannelClosed, GraphError
from shoal.dag.inputs import InputNode
from shoal.dag.node import DAGNode
from shoal.dag.nodes import ClassMethodNode
from shoal.dag.plan import DRIVER, Channel, Graph, needed_nodes, template_of
from shoal.dag.relay import Relay, RelayWriter
from shoal.dag.ring import ERROR, Reader, Ring, RingPlan, Writer, make_ring, remove_ring
from shoal.dag.steps import ActorPlan, Inlet, Outlet, Step
from shoal.dag.tensors import receive
from shoal.errors import ActorDied, GetTimeout, ShoalError
from shoal.values import pack, unpack_error

_START_SECONDS = 120.0  # for actors that are still being made


def place_of(instance: Any) -> str:
    """Return the node of the actor that runs it."""
    return shoal.get_runtime_context().get_node_id()


def make_here(instance: Any, name: str, slots: int, size: int, readers: int) -> str:
    """Make a ring on the node of the actor that runs it and return its path."""
    path = os.path.join(shoal.get_runtime_context().get_shared_folder(), name)
    make_ring(RingPlan(path, slots, size, readers))
    return path


def forget_here(instance: Any, path: str) -> None:
    """Remove the name of a ring that all its users have mapped."""
    remove_ring(path)


@attrs.define
class _Laid:
    """One channel as it was laid: for each node with readers the ring's path, and how to remove its name."""

    channel: Channel
    local: str | None = None
    paths: dict[str, str] = attrs.field(factory=dict)
    readers: dict[str, list[Any]] = attrs.field(factory=dict)
    relays: list[Any] = attrs.field(factory=list)
    forget: list[Callable[[], Any]] = attrs.field(factory=list)


class ChannelSet(Backend):
    """Executes through rings in shared memory, on other nodes by way of relays."""

    def __init__(
        self,
        graph: Graph,
        made: Sequence[Any],
        name: str,
        slots: int,
        size: int,
        overlap: bool,
        context: DAGContext,
    ) -> None:
        self._graph = graph
        self._made = made  # actors that live as long as the graph
        self._name = name
        self._slots = slots
        self._size = size
        self._context = context
        self._pings: dict[Any, Any] = {}
        self._pinged = 0.0
        self._broken: BaseException | None = None
        self._laid: dict[DAGNode, _Laid] = {}
        self._rings: list[Ring] = []
        self._partial: list[Outcome] = []
        self._begun: list[Any] = []
        try:
            self._start(overlap)
        except BaseException:
            self._remove_names()
            self.close(context.teardown_timeout, False)
            raise
        self._remove_names()

    # Starting

    def _start(self, overlap: bool) -> None:
        graph = self._graph
        here = shoal.get_runtime_context()
        self._here = here.get_node_id()
        self._folder = here.get_shared_folder()
        asked = [actor.__shoal_call__.remote(place_of) for actor in graph.actors]
        try:
            places = shoal.get(asked, timeout=_START_SECONDS)
        except GetTimeout as error:
            raise GraphError(
                f"the graph's actors were not all ready within {_START_SECONDS:g} s; shoal.explain(handle) says why"
            ) from error
        self._places: dict[Any, str] = dict(zip(graph.actors, places, strict=True))
        for number, channel in enumerate(graph.channels.values()):
            self._laid[channel.node] = self._lay(channel, number)
        self._open()
        self._begun = list(graph.actors)
        shoal.get(
            [actor.__shoal_call__.remote(loop.begin, self._plan(actor, overlap)) for actor in graph.actors],
            timeout=_START_SECONDS,
        )

    def _node_of(self, member: Any) -> str:
        return self._here if member is DRIVER else self._places[member]

    def _lay(self, channel: Channel, number: int) -> _Laid:
        laid = _Laid(channel)
        home = self._node_of(channel.writer)
        for reader in channel.readers:
            laid.readers.setdefault(self._node_of(reader), []).append(reader)
        for node, readers in laid.readers.items():
            name = f"graph-{self._name}-{number}-{len(laid.paths)}"
            if node != home:
                relay = shoal.remote(Relay).options(
                    num_cpus=0, scheduling_strategy=shoal.NodeAffinitySchedulingStrategy(node, soft=False)
                )
                handle = relay.remote()
                laid.relays.append(handle)
                laid.paths[node] = shoal.get(
                    handle.make.remote(name, self._slots, self._size, len(readers)), timeout=_START_SECONDS
                )
                laid.forget.append(handle.forget_name.remote)
            elif home == self._here:
                path = os.path.join(self._folder, name)
                make_ring(RingPlan(path, self._slots, self._size, len(readers)))
                laid.local = laid.paths[node] = path
                laid.forget.append(lambda path=path: forget_here(None, path))  # type: ignore[misc]
            else:
                call = channel.writer.__shoal_call__
                laid.local = laid.paths[node] = shoal.get(
                    call.remote(make_here, name, self._slots, self._size, len(readers)),
                    timeout=_START_SECONDS,
                )
                laid.forget.append(lambda call=call, path=laid.local: call.remote(forget_here, path))  # type: ignore[misc]
        return laid

    def _outlet(self, node: DAGNode) -> Outlet | None:
        laid = self._laid.get(node)
        if laid is None:
            return None
        return Outlet(
            path=laid.local,
            relays=tuple(laid.relays),
            slots=self._slots,
            size=self._size,
            hint=node.type_hint,
            to_main_memory=DRIVER in laid.channel.readers or bool(laid.relays),
        )

    def _plan(self, actor: Any, overlap: bool) -> ActorPlan:
        slots = self._graph.slots_of(actor)
        inlets: list[Inlet] = []
        steps: list[Step] = []
        seen: set[DAGNode] = set()
        for node in self._graph.calls:
            if node.actor != actor:
                continue
            reads: list[int] = []
            for needed in needed_nodes(node):
                laid = self._laid.get(needed)
                if laid is None or needed in seen or actor not in laid.channel.readers:
                    continue
                seen.add(needed)
                reads.append(len(inlets))
                home = self._places[actor]
                index = laid.readers[home].index(actor)
                inlets.append(
                    Inlet(path=laid.paths[home], index=index, slot=slots[needed], hint=needed.type_hint)
                )
            steps.append(self._step(node, slots, tuple(reads)))
        return ActorPlan(
            graph=self._name, slots=len(slots), inlets=tuple(inlets), steps=tuple(steps), overlap=overlap
        )

    def _step(self, node: ClassMethodNode, slots: dict[DAGNode, int], reads: tuple[int, ...]) -> Step:
        return Step(
            name=node.step_label.removesuffix("()"),
            method=node.get_method_name(),
            args=template_of(node.get_args(), slots),
            kwargs=template_of(node.get_kwargs(), slots),
            slot=slots[node],
            reads=reads,
            needs=tuple(slots[needed] for needed in needed_nodes(node)),
            outlet=self._outlet(node),
            pick=node.output_idx,
            returns=node.num_returns,
        )

    def _open(self) -> None:
        """Open the driver's own ends."""
        self._writers: list[Writer | RelayWriter] = []
        self._readers: dict[DAGNode, Reader] = {}
        for node, laid in self._laid.items():
            if isinstance(node, InputNode):
                if laid.local is not None:
                    self._writers.append(Writer(self._ring(laid.local)))
                self._writers += [RelayWriter(relay, self._slots, self._size) for relay in laid.relays]
            elif DRIVER in laid.channel.readers:
                index = laid.readers[self._here].index(DRIVER)
                reader = self._readers[node] = Reader(self._ring(laid.paths[self._here]), index)
                reader.mapped = False  # what a driver has got is its own, for as long as it likes
            elif laid.local is not None and self._node_of(laid.channel.writer) == self._here:
                self._ring(laid.local)  # to close it
        self._driver_ends = list(self._readers.items())

    def _ring(self, path: str) -> Ring:
        ring = Ring(path)
        self._rings.append(ring)
        return ring

    def _remove_names(self) -> None:
        """Remove the files' names: memory that is mapped goes with the last process that maps it."""
        for laid in self._laid.values():
            for forget in laid.forget:
                with contextlib.suppress(ShoalError):
                    forget()

    # Executing

    def has_room(self) -> bool:
        return all(writer.has_room() for writer in self._writers)

    def submit(self, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float) -> None:
        packed = pack((args, kwargs), "the graph's input")
        try:
            for writer in self._writers:
                writer.write(packed, timeout, self._check)
        except ChannelClosed:
            self._explain()
            raise

    def read(self, timeout: float | None) -> list[Outcome]:
        outcomes = self._partial
        readers = self._driver_ends
        end = None if timeout is None else time.monotonic() + timeout
        try:
            if len(readers) == 1 and len(self._graph.outputs) == 1:
                node, reader = readers[0]
                reader.wait(timeout, self._check)
                return [_read(reader, node)]
            while len(outcomes) < len(readers):
                node, reader = readers[len(outcomes)]
                left = None if end is None else max(end - time.monotonic(), 0.0)
                reader.wait(left, self._check)
                outcomes.append(_read(reader, node))
        except ChannelClosed:
            self._explain()
            raise
        self._partial = []
        found = dict(zip(self._readers, outcomes, strict=True))
        return [found[node] for node in self._graph.outputs]

    # Watching

    def _check(self) -> None:
        """Ask the actors now and then whether they live. If one does not: close the channels and raise ActorDied."""
        now = time.monotonic()
        if self._pings:
            ready, _ = shoal.wait(list(self._pings.values()), num_returns=len(self._pings), timeout=0)
            for actor, ref in list(self._pings.items()):
                if ref in ready:
                    self._look(actor, ref)
        if now - self._pinged > self._context.read_iteration_timeout:
            self._pinged = now
            for actor in self._graph.actors:
                if actor not in self._pings:
                    self._pings[actor] = actor.__shoal_call__.remote(loop.trouble, self._name)

    def _look(self, actor: Any, ref: Any) -> None:
        del self._pings[actor]
        try:
            reason = shoal.get(ref)
        except ShoalError as error:
            self._break(error)
        else:
            if reason:
                self._break(ActorDied(f"{actor!r} does not run the compiled graph any more: {reason}"))

    def _break(self, error: BaseException) -> None:
        if self._broken is None:
            self._broken = error
        self._close_rings()
        # The engine may keep the error for others who ask: it must not keep these frames, and so the graph.
        error.__traceback__ = None
        raise copy.copy(self._broken)

    def _explain(self) -> None:
        """The channels were closed: raise why, if it was an actor's death."""
        if self._broken is not None:
            raise copy.copy(self._broken)
        if not shoal.is_initialized():
            return
        refs = {actor: actor.__shoal_call__.remote(loop.trouble, self._name) for actor in self._graph.actors}
        ready, _ = shoal.wait(list(refs.values()), num_returns=len(refs), timeout=1.0)
        self._pings = {}
        died: list[BaseException] = []
        for ref in ready:
            try:
                shoal.get(ref)
            except ShoalError as error:
                died.append(error)
        if died:
            self._break(died[0])

    # Ending

    def _close_rings(self) -> None:
        for ring in self._rings:
            ring.close()

    def close(self, seconds: float, kill_actors: bool) -> None:
        self._close_rings()
        if not shoal.is_initialized():
            return
        with contextlib.suppress(ShoalError):
            ends = [actor.__shoal_call__.remote(loop.end, self._name, seconds) for actor in self._begun]
            if ends:
                shoal.wait(ends, num_returns=len(ends), timeout=seconds)
        self._end_relays()
        for actor in self._graph.actors if kill_actors else ():
            with contextlib.suppress(ShoalError):
                shoal.kill(actor)
        self._made = ()

    def abandon(self) -> None:
        self._close_rings()
        self._end_relays()

    def _end_relays(self) -> None:
        for laid in self._laid.values():
            for relay in laid.relays:
                with contextlib.suppress(ShoalError):
                    shoal.kill(relay)
            laid.relays.clear()


def _read(reader: Reader, node: DAGNode) -> Outcome:
    """Read what is there."""
    try:
        kind, value = reader.read(0, _nothing)
        if kind == ERROR:
            return Outcome(error=unpack_error(value))
        return Outcome(receive(value, node.type_hint))
    except ChannelClosed:
        raise
    except Exception as error:  # the value does not unpickle here
        return Outcome(error=error)
    finally:
        reader.release()


def _nothing() -> None:
    """Nothing is waited for."""
