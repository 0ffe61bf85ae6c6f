"""Tasks and actors of a simulated session: executed for real, at virtual times, on nodes that may die."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from shoal.death import Cause, DeathCertificate
from shoal.errors import (
    ActorExit,
    NodeDied,
    NotInitialized,
    ObjectLost,
    PlacementGroupRemoved,
    ShoalError,
)
from shoal.ids import NodeID
from shoal.inline.actors import DEAD, PENDING, RESTARTING, Actor, Actors
from shoal.inline.calls import DONE, QUEUED, RUNNING, Call, failed_argument, running
from shoal.inline.node import GroupGone
from shoal.inline.results import FREED
from shoal.inline.tasks import Tasks, cancelled, environment
from shoal.sim.core import Located, Run, SimCore
from shoal.sim.nodes import NodeHolding
from shoal.sim.stage import Interrupted

DURATION = 0.001  # seconds that a call takes of which nothing is said
LATENCY = 0.001  # seconds from being placed to being executed


def certificate_of(core: SimCore, node_id: NodeID, what: str, name: str) -> DeathCertificate:
    """Return how something died with its node."""
    return DeathCertificate(
        what=what,
        name=name,
        node=node_id.hex(),
        process=os.getpid(),
        when=core.world.now,
        cause=Cause.NODE_DIED,
        detail=f"node {core.cluster.number(node_id)} of the simulation died at {core.world.now:.6f} s",
    )


class SimTasks(Tasks):
    """Tasks wait for arguments and room, are placed by the scheduler, fetch what they need, and take virtual time."""

    core: SimCore

    def __init__(self, core: SimCore, task_seconds: float | Mapping[str, float]) -> None:
        super().__init__(core)
        self._task_seconds = task_seconds

    def seconds_of(self, call: Call) -> float:
        """Return how long a call takes, in virtual seconds."""
        given = self._task_seconds
        if not isinstance(given, Mapping):
            return given
        return given.get(call.function_name, given.get(call.function_name.rpartition(".")[2], DURATION))

    def start_if_possible(self, call: Call) -> None:
        """Place a call whose arguments are there; else see to it that this is tried again."""
        core = self.core
        again = Again(self, call)
        if call.state != QUEUED or call in core.runs or not core.when_done(call.waits_for, again):
            return
        call.demand = attrs.evolve(call.demand, argument_bytes=self._places(call))
        try:
            with core.lock:
                holding = core.place(call.demand)
                if holding is None:
                    core.when_room(again)
                    return
                assert isinstance(holding, NodeHolding)
                core.cluster.take(holding)
                run = core.runs[call] = Run(call, holding)
        except GroupGone:
            core.fail(call, PlacementGroupRemoved(f"the placement group of {call.name}() was removed"))
            return
        except ShoalError as error:
            core.fail(call, error)
            return
        core.world.note("place", call.name, call.attempt, core.cluster.number(run.node_id))
        core.world.after(LATENCY + self._fetch(call, run.node_id), self._begin, run)

    def _places(self, call: Call) -> dict[NodeID, int]:
        found: dict[NodeID, int] = {}
        for ref in call.waits_for:
            if isinstance(ref.record, Located):
                for node_id in ref.record.places:
                    found[node_id] = found.get(node_id, 0) + ref.record.size
        return found

    def _fetch(self, call: Call, node_id: NodeID) -> float:
        """Bring the arguments to a node; return how long that takes."""
        core = self.core
        moved = 0
        for ref in call.waits_for:
            record = ref.record
            if isinstance(record, Located) and record.places and node_id not in record.places:
                moved += record.size
                core.locate(record, node_id)
        core.bytes_moved += moved
        return moved / core.bandwidth

    def _begin(self, run: Run) -> None:
        call, core = run.call, self.core
        if core.runs.get(call) is not run:
            return  # its node died meanwhile
        if call.state != QUEUED:
            self._leave(run)  # cancelled
        elif not core.when_done(call.waits_for, Again(self, call)):
            self._leave(run)  # an argument was lost on its way: it is made again first
        else:
            core.play(lambda: self._execute(run), run)

    def _leave(self, run: Run) -> None:
        """Give back what a run holds."""
        core = self.core
        with core.lock:
            if core.runs.get(run.call) is not run:
                return
            del core.runs[run.call]
            if not run.waits:
                core.cluster.give_back(run.holding)
        core.room_changed()

    def _execute(self, run: Run) -> None:
        """One attempt, on the stage."""
        core, call = self.core, run.call
        call.state = RUNNING
        core.world.note("execute", call.name, call.attempt, core.cluster.number(run.node_id))
        error: BaseException | None = None
        token = running.set(call)
        try:
            argument_error = failed_argument(call)
            if argument_error is not None:
                core.fail(call, argument_error)
                return
            self._context_of(call)
            started = core.world.now
            try:
                with environment(call.runtime_env):
                    args, kwargs = call.arguments()
                    assert call.function is not None
                    value = call.function(*args, **kwargs)
                    core.stage.sleep(self.seconds_of(call))
                    if call.state == RUNNING:
                        core.finish(call, value)
            finally:
                core.note_virtual(call, started, run.node_id)
        except (Interrupted, NotInitialized):
            raise
        except (ActorExit, KeyboardInterrupt):
            core.fail(call, cancelled(call))
        except BaseException as caught:  # user code may raise anything
            error = caught
        finally:
            running.reset(token)
            self._leave(run)
        if error is not None and call.state == RUNNING:
            if call.may_retry(error):
                self.again(call)
            else:
                core.fail(call, error)

    def attempts(self, call: Call, function: Callable[..., Any]) -> None:
        """Call a method until it succeeds or may not be tried again. What ends it from outside is passed on."""
        core = self.core
        while True:
            argument_error = failed_argument(call)
            if argument_error is not None:
                core.fail(call, argument_error)
                return
            self._context_of(call)
            token = running.set(call)
            started = core.world.now
            try:
                with environment(call.runtime_env):
                    args, kwargs = call.arguments()
                    core.finish(call, function(*args, **kwargs))
                return
            except (Interrupted, NotInitialized):
                raise
            except (ActorExit, KeyboardInterrupt):
                core.fail(call, cancelled(call))
                raise
            except BaseException as error:  # user code may raise anything
                if not call.may_retry(error):
                    core.fail(call, error)
                    return
                call.attempt += 1
            finally:
                running.reset(token)
                run = core.runs.get(call)
                core.note_virtual(call, started, core.cluster.id if run is None else run.node_id)

    def _context_of(self, call: Call) -> None:
        super()._context_of(call)
        run = self.core.runs.get(call)
        if run is not None:
            assert call.context is not None
            call.context = attrs.evolve(call.context, node_id=run.node_id)

    def again(self, call: Call) -> None:
        """Try a call once more, on whichever node has room."""
        call.attempt += 1
        call.state = QUEUED
        self.core.retries += 1
        self.core.world.after(LATENCY, self.start_if_possible, call)

    def node_died(self, node_id: NodeID, runs: list[Run]) -> None:
        """Tasks that ran on a node are tried again as far as they may."""
        core = self.core
        for run in runs:
            call = run.call
            core.runs.pop(call, None)
            if call.actor is not None or call.state == DONE:
                continue
            began = call.state == RUNNING
            call.state = QUEUED
            if not began:
                core.world.after(
                    LATENCY, self.start_if_possible, call
                )  # it was not executed: no attempt is spent
            elif call.cancelled:
                core.fail(call, cancelled(call))
            elif call.retries == -1 or call.attempt < call.retries:
                self.again(call)
            else:
                certificate = certificate_of(core, node_id, "task", call.name)
                core.fail(
                    call, NodeDied(f"{call.name}() died with its node, {call.attempt + 1} times", certificate)
                )

    def rebuild(self, node_id: NodeID) -> None:
        """Make again what lay on a node that died and nowhere else, as far as its calls may be repeated."""
        core = self.core
        for result in sorted(core.objects.pop(node_id, ()), key=lambda each: each.id):
            result.places.discard(node_id)
            if result.places or result.state == FREED:
                continue
            lineage, result.lineage = result.lineage, None
            with core.lock:
                if lineage is None or not (lineage.retries == -1 or lineage.attempt < lineage.retries):
                    self._lose(result, node_id, lineage)
                    continue
                lineage.results = self._all_results(result, lineage)
                result.reset(lineage)
            core.world.note("rebuild", lineage.name, lineage.attempt + 1)
            lineage.attempt += 1
            core.retries += 1
            core.world.after(LATENCY, self.start_if_possible, lineage)

    def _all_results(self, lost: Located, lineage: Call) -> list[Any]:
        """Return as many results as the call gives: the lost one in its place, the others for nobody."""
        count = lineage.num_returns if isinstance(lineage.num_returns, int) else 1
        index = int.from_bytes(lost.id[16:], "big") - 1
        made = [Located(lost.id[:16] + (number + 1).to_bytes(4, "big"), lineage) for number in range(count)]
        if 0 <= index < count:
            made[index] = lost
        return made

    def _lose(self, result: Located, node_id: NodeID, lineage: Call | None) -> None:
        from shoal.serial import dump_error

        why = (
            "put() made it, so no task can make it again"
            if lineage is None
            else "its task may not be tried again"
        )
        certificate = certificate_of(self.core, node_id, "object", result.id.hex())
        error = ObjectLost(f"object {result.id.hex()} is lost with its node; {why}", certificate)
        result.packed, result.refs = b"", ()
        result.fail(dump_error(error, "get"))


class Again:
    """Tries a call again once something is there."""

    __slots__ = ("call", "tasks")

    def __init__(self, tasks: SimTasks, call: Call) -> None:
        self.tasks, self.call = tasks, call

    def __call__(self) -> None:
        """Try."""
        self.tasks.start_if_possible(self.call)


class SimActors(Actors):
    """Actors live on nodes; each call of a method that is no coroutine takes virtual time."""

    core: SimCore

    def __init__(self, core: SimCore, tasks: SimTasks) -> None:
        super().__init__(core, tasks)
        self._seconds_of = tasks.seconds_of

    def _construct(self, actor: Actor) -> None:
        if actor.info.is_async:
            super()._construct(actor)
            return
        life = actor.life
        self.core.world.after(LATENCY, self._construct_as_event, actor, life)

    def _construct_as_event(self, actor: Actor, life: int) -> None:
        if actor.state in (PENDING, RESTARTING) and actor.life == life:
            super()._construct(actor)

    def pump(self, actor: Actor) -> None:
        # User code begins as an event of the world, never inside the call that makes it possible.
        if actor.info.is_async:
            super().pump(actor)
        else:
            self.core.world.after(LATENCY, super().pump, actor)

    def _enter(self, actor: Actor, call: Call) -> None:
        super()._enter(actor, call)
        if isinstance(actor.holding, NodeHolding) and call.context is not None:
            call.context = attrs.evolve(call.context, node_id=actor.holding.node_id)

    def _run_method(self, actor: Actor, call: Call) -> None:
        holding = actor.holding
        if isinstance(holding, NodeHolding):
            # It holds nothing of its own: the actor does.
            nothing = attrs.evolve(holding, resources=holding.resources - holding.resources)
            run = self.core.runs[call] = Run(call, nothing)
            here = self.core.stage.here()
            if here is not None:
                here.place = run  # so that it ends with its node
        try:
            super()._run_method(actor, call)
        except (Interrupted, NotInitialized):
            pass
        finally:
            self.core.runs.pop(call, None)

    def _method(self, actor: Actor, call: Call) -> Callable[..., Any]:
        method = super()._method(actor, call)
        if actor.info.is_async or call.stream is not None:
            return method

        def timed(*args: Any, **kwargs: Any) -> Any:
            value = method(*args, **kwargs)
            self.core.stage.sleep(self._seconds_of(call))
            return value

        return timed

    def node_died(self, node_id: NodeID, runs: list[Run]) -> None:
        """Actors that lived on a node start anew elsewhere, or die. `runs` are what was executed there."""
        core = self.core
        for actor in list(self._actors.values()):
            holding = actor.holding
            if actor.state == DEAD or not isinstance(holding, NodeHolding) or holding.node_id != node_id:
                continue
            certificate = certificate_of(core, node_id, "actor", actor.info.class_name)
            for run in runs:
                if run.call.actor is actor and run.call not in actor.running:
                    actor.running.append(run.call)  # its execution has ended already, it has not
            most = actor.template.max_restarts
            if most != -1 and actor.restarts >= most:
                self._end(actor, Cause.NODE_DIED, certificate.detail)
                continue
            with core.lock:
                actor.state, actor.instance, actor.holding = RESTARTING, None, None
                actor.restarts += 1
                actor.life += 1
                actor.room = {}
                lost, actor.running = list(actor.running), []
            for call in reversed(lost):
                self._lose_call(actor, call)
            core.world.note("restart", actor.info.class_name, actor.restarts)
            core.world.after(LATENCY, self._place_anew, actor)

    def _lose_call(self, actor: Actor, call: Call) -> None:
        if call.state != DONE and (call.retries == -1 or call.attempt < call.retries):
            call.attempt += 1
            call.state = QUEUED
            self.core.retries += 1
            actor.queue.appendleft(call)
        else:
            self._drop_call(actor, call)

    def _place_anew(self, actor: Actor) -> None:
        if actor.state != RESTARTING or actor.holding is not None:
            return
        actor.state = PENDING
        self._place(actor)
