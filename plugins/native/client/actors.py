"""Calling actors: in order, straight to the actor's process, again after a restart where that is allowed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from shoal.death import Cause, DeathCertificate
from shoal.errors import (
    ActorDied,
    ActorUnavailable,
    PendingCallsLimitExceeded,
    RuntimeEnvSetup,
    TaskCancelled,
)
from shoal.native.client import arguments
from shoal.native.client.functions import PreparedMethod
from shoal.native.client.peers import Peer
from shoal.native.client.records import Task
from shoal.native.wire import kinds
from shoal.serial import dump_error, load_error
from shoal.spec.calls import ActorInfo, MethodTemplate

if TYPE_CHECKING:
    from shoal.native.client.client import Client

_BATCH = 64
_ACKNOWLEDGE_COUNT = (
    128  # answers that an actor with exactly_once keeps for us, unless we call it again before
)
_ACKNOWLEDGE_BYTES = 1 << 18
_CONNECT_AGAIN_SECONDS = (0.2, 2.0)  # after a connection to a living actor broke, and at most: it doubles
_LOOK_SECONDS = 0.02  # how often it is looked whether a new one is there


class ActorClient:
    """One actor as its callers in this process see it."""

    __slots__ = (
        "_actors",
        "_client",
        "actor_id",
        "certificate",
        "doomed",
        "error",
        "incarnation",
        "info",
        "lost",
        "methods",
        "peer",
        "pending",
        "queue",
        "sequence",
        "state",
        "unanswered",
        "unsaid_bytes",
        "unsaid_count",
    )

    def __init__(self, actors: Actors, client: Client, actor_id: bytes, info: ActorInfo) -> None:
        self._actors = actors
        self._client = client
        self.actor_id = actor_id
        self.info = info
        self.state = "PENDING"
        self.peer: Peer | None = None
        self.incarnation = 0
        self.queue: deque[Task] = deque()  # not sent yet
        self.lost: list[Task] = []  # sent to a process that died; their fate is open
        self.pending = 0  # calls without an answer
        self.certificate: DeathCertificate | None = None
        self.error: bytes | None = None
        self.methods: dict[int, PreparedMethod] = {}
        self.doomed = False  # kill() was called: calls wait for what becomes of it
        self.sequence = 0  # the last number given to a call, where the actor applies each call once
        self.unanswered: dict[int, Task] = {}  # those calls, in the order of their numbers
        self.unsaid_count = 0  # answers that the actor does not know to be here
        self.unsaid_bytes = 0

    # Calls with a number, for actors that apply each once

    def number(self, task: Task) -> None:
        """Give a call the next number: the actor applies it once however often it is sent."""
        self.sequence += 1
        task.sequence = self.sequence
        self.unanswered[task.sequence] = task

    @property
    def below(self) -> int:
        """Every call with a lower number is answered, and will not be sent again."""
        return next(iter(self.unanswered), self.sequence + 1)

    def settled(self, task: Task, size: int = 0) -> None:
        """A call with a number has its answer, or is given up. The actor is told with the next calls, or now."""
        if self.unanswered.pop(task.sequence, None) is None:
            return
        self.unsaid_count += 1
        self.unsaid_bytes += size
        if self.unsaid_count >= _ACKNOWLEDGE_COUNT or self.unsaid_bytes >= _ACKNOWLEDGE_BYTES:
            self.unsaid_count = self.unsaid_bytes = 0
            if self.peer is not None:
                self._client.peers.send(self.peer, [kinds.ACKNOWLEDGED, self.actor_id, self.below])

    def answered(self) -> None:
        """Some answers came: there may be room again."""
        if self.queue:
            self.push()

    def again(self, task: Task) -> None:
        """Call again, before what waits: another call, if the last try was applied."""
        task.peer = None
        if task.sequence:
            self.unanswered.pop(task.sequence, None)
            self.number(task)
        self.queue.appendleft(task)
        if task.slots is None or arguments.resolve(self._client, task, self._resolved):
            self.push()

    def _resolved(self, task: Task) -> None:
        self.push()

    def add(self, task: Task) -> None:
        """Append a call and send it if it can go."""
        peer = self.peer
        if (
            peer is not None
            and not self.queue
            and task.slots is None
            and task.extra is None
            and not self.doomed
        ):
            self._send(peer, task)
            return
        self.queue.append(task)
        if task.slots is None or arguments.resolve(self._client, task, self._resolved):
            self.push()

    def push(self) -> None:
        """Send the calls at the front whose arguments are there. A call never overtakes another."""
        queue = self.queue
        if self.state == "DEAD":
            self._fail_all()
            return
        peer = self.peer
        if peer is None or self.doomed:
            return
        while queue:
            task = queue[0]
            if task.cancelled:
                queue.popleft()
                continue
            if task.waiting:
                return
            queue.popleft()
            failed = arguments.failed_argument(task)
            if failed is not None:
                self._client.tasks.finish_with_error(task, failed.payload)
                continue
            self._send(peer, task)

    def _send(self, peer: Peer, task: Task) -> None:
        task.peer = peer
        peer.inflight[task.counter] = task
        method: PreparedMethod = task.function
        extra = None
        if task.extra is not None or method.wire is not None or task.attempt or task.sequence:
            extra = dict(arguments.extra_for(self._client, task) or {})
            extra.update(method.wire or {})
            if task.attempt:
                extra["a"] = task.attempt
            if task.sequence:
                extra["q"] = task.sequence
        self._actors.batch(self, peer, [task.counter, method.key, task.payload, extra])

    def _fail_all(self) -> None:
        queue, self.queue = self.queue, deque()
        for task in [*self.lost, *queue]:
            self._client.tasks.finish_with_error(task, self._death(task))
        self.lost = []

    def _death(self, task: Task) -> bytes:
        name = self.info.class_name
        if self.error is not None:
            text = f"actor {name} was not created: {load_error(self.error)}"
            return dump_error(ActorDied(text, self.certificate), task.function.name)
        if task.cancelled:
            return dump_error(TaskCancelled(f"{task.function.name} was cancelled"), task.function.name)
        certificate = self.certificate
        if certificate is not None and certificate.cause is Cause.ENVIRONMENT_FAILED:
            what = f"the environment of actor {name} could not be made"
            return dump_error(RuntimeEnvSetup(what, certificate), task.function.name)
        return dump_error(ActorDied(f"actor {name} is dead", certificate), task.function.name)

    def on_state(self, state: str, worker: bytes, incarnation: int, certificate: Any, error: Any) -> None:
        """The directory tells a new state."""
        if incarnation < self.incarnation or self.state == "DEAD":
            return
        if state != "ALIVE" or incarnation > self.incarnation:
            self.doomed = False
        self.state = state
        self.certificate = certificate
        self.error = error
        observing = self._client.observing
        if (
            observing is not None
            and state in ("DEAD", "RESTARTING")
            and self.actor_id in self._client.creations
        ):
            observing.actor_died(self.actor_id, self.info.class_name, state == "RESTARTING", certificate)
        if state == "ALIVE" and (incarnation != self.incarnation or self.peer is None):
            self.incarnation = incarnation
            if self.peer is not None and self.peer.worker_id != worker:
                self._take_back(self.peer)  # its end will be noticed later than that another took over
            self.settle_lost()
            self.peer = self._client.peers.get(worker)
            self.push()
        elif state == "RESTARTING":
            if self.peer is None:
                self.settle_lost()
        elif state == "DEAD" and self.peer is None:
            self._fail_all()
        if state == "DEAD":
            self._actors.ended(self)

    def connection_lost(self, peer: Peer) -> None:
        """The actor's process is gone. What it had not answered waits for the directory's word."""
        if self.peer is not peer:
            return
        self.peer = None
        self._take_back(peer)
        if self.state == "DEAD":
            self._fail_all()
        elif self.state == "RESTARTING":
            self.settle_lost()
        elif self.state == "ALIVE" and not self.doomed:
            # Mostly the directory is about to say that it died. If it lives, only the connection broke.
            self._connect_again(peer.worker_id, self.incarnation, _CONNECT_AGAIN_SECONDS[0])

    def _connect_again(self, worker: bytes, incarnation: int, pause: float) -> None:
        """Try the same process again, until the directory says otherwise. What was lost is settled when it answers."""
        reactor = self._client.reactor

        def is_settled() -> bool:
            return self.state != "ALIVE" or self.incarnation != incarnation or self.peer is not None

        def connect() -> None:
            if not is_settled():
                look(self._client.peers.get(worker))

        def look(peer: Peer) -> None:
            if is_settled():
                return
            if peer.gone:
                self._connect_again(worker, incarnation, min(2 * pause, _CONNECT_AGAIN_SECONDS[1]))
            elif peer.connection is not None and peer.connection.established:
                self.peer = peer
                self.settle_lost("the connection broke")
                self.push()
                reactor.flush()
            else:
                reactor.call_later(_LOOK_SECONDS, lambda: look(peer))

        reactor.call_later(pause, connect)

    def _take_back(self, peer: Peer) -> None:
        """Calls that a process has not answered: it is gone, or not the actor's any more."""
        mine = [task for task in peer.inflight.values() if task.actor is self]
        for task in mine:
            del peer.inflight[task.counter]
        self.lost.extend(mine)

    def settle_lost(self, what: str = "") -> None:
        """The actor restarts, or `what` happened: calls that may be tried again go first, the others fail."""
        lost, self.lost = self.lost, []
        for task in reversed(lost):
            if task.retries != 0 and not task.cancelled:
                if task.retries > 0:
                    task.retries -= 1
                task.attempt += 1
                task.peer = None
                self.queue.appendleft(task)
                if task.slots is not None:
                    arguments.resolve(self._client, task, self._resolved)
            else:
                name = self.info.class_name
                message = f"actor {name} died in the middle of {task.function.name} and restarts"
                if what:
                    message = (
                        f"{what} to actor {name} in the middle of {task.function.name}, which may have run"
                    )
                error = dump_error(ActorUnavailable(message, self.certificate), task.function.name)
                self._client.tasks.finish_with_error(task, error)


class Actors:
    """All actors that this process calls."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._clients: dict[bytes, ActorClient] = {}
        self._batches: list[tuple[ActorClient, Peer]] = []
        self.tokens: dict[bytes, bytes] = {}  # lifetime object → actor
        client.reactor.gatherers.append(self._gather)

    def client(self, info: ActorInfo) -> ActorClient:
        """Return the caller's side of an actor; called with the lock held."""
        actor = self._clients.get(info.actor_id)
        if actor is None:
            actor = self._clients[info.actor_id] = ActorClient(self, self._client, info.actor_id, info)
            self._client.tell_daemon([kinds.SUBSCRIBE_ACTOR, info.actor_id])
        return actor

    def find(self, actor_id: bytes) -> ActorClient | None:
        """Return the caller's side of an actor that was called before."""
        return self._clients.get(actor_id)

    def call(
        self, info: ActorInfo, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call a method; return its reference(s). Takes the lock."""
        client = self._client
        prepared = template.prepared
        if prepared is None or prepared[0] is not client:
            method = PreparedMethod(template, info.class_name, info.max_task_retries)
            prepared = template.prepared = (client, method)
        method = prepared[1]
        task = arguments.make_task(client, method, None, args, kwargs)
        task.retries = method.max_retries
        execution = client.execution()
        if execution is not None:
            task.parent = execution.counter
            task.caller = execution.peer.worker_id + execution.counter.to_bytes(8, "big")
        with client.reactor.lock:
            if client.objects.has_dropped:
                client.objects.collect()
            actor = self._clients.get(info.actor_id)
            if actor is None:
                actor = self.client(info)
            if info.max_pending_calls > 0:
                waiting = len(actor.queue) + (len(actor.peer.inflight) if actor.peer is not None else 0)
                if waiting >= info.max_pending_calls:
                    raise PendingCallsLimitExceeded(
                        f"{waiting} calls wait for actor {info.class_name}, which allows max_pending_calls="
                        f"{info.max_pending_calls}; get() some results first"
                    )
            task.actor = actor
            if info.exactly_once:
                actor.number(task)
            result = client.tasks.make_returns(task, method)
            actor.add(task)
        return result

    def batch(self, actor: ActorClient, peer: Peer, item: list[Any]) -> None:
        """Queue a call for the next flush."""
        batch = peer.batch
        if not batch:
            self._batches.append((actor, peer))
            self._client.reactor.pending = True
        batch.append(item)
        self._client.tasks.flush_soon(peer)

    def _gather(self) -> None:
        batches = self._batches
        if not batches:
            return
        self._batches = []
        if not self._client.recorder.armed:
            self._client.recorder.arm()
        for actor, peer in batches:
            batch = peer.batch
            if batch:
                peer.batch = []
                message = [kinds.CALLS, actor.actor_id, batch]
                if actor.sequence:
                    message.append(actor.below)
                    actor.unsaid_count = actor.unsaid_bytes = 0
                self._client.peers.send(peer, message)

    def on_state(self, message: list[Any]) -> None:
        """The daemon tells an actor's state."""
        _, actor_id, state, worker, incarnation, certificate, error = message
        actor = self._clients.get(actor_id)
        if actor is not None:
            actor.on_state(state, worker, incarnation, self._client.read_certificate(certificate), error)

    def on_peer_gone(self, peer: Peer) -> None:
        """A process ended: if actors lived in it, their calls wait."""
        for actor in list(self._clients.values()):
            actor.connection_lost(peer)

    def clients(self) -> list[ActorClient]:
        """Return the caller's side of every actor that was called."""
        return list(self._clients.values())

    def ended(self, actor: ActorClient) -> None:
        """The actor is dead: let go of what its creation held."""
        self._client.creations.pop(actor.actor_id, None)

    def token_released(self, object_id: bytes) -> bool:
        """The last handle of an actor of ours went: it ends after the calls that it has."""
        actor_id = self.tokens.pop(object_id, None)
        if actor_id is None:
            return False
        actor = self._clients.get(actor_id)
        if actor is None or not self._end_when_idle(actor):
            self._client.tell_daemon([kinds.END_ACTOR, actor_id])
        return True

    def _end_when_idle(self, actor: ActorClient) -> bool:
        """If calls of ours are unfinished, end the actor after the last of them. Return whether that is so."""
        if actor.state == "DEAD":
            return True
        unfinished = list(actor.queue) + actor.lost
        if actor.peer is not None:
            unfinished += [task for task in actor.peer.inflight.values() if task.actor is actor]
        waits = [record for task in unfinished for record in task.returns if record.status is None]
        if not waits:
            return False
        last = waits[-1]

        def over() -> None:
            if not self._end_when_idle(actor):
                self._client.tell_daemon([kinds.END_ACTOR, actor.actor_id])

        last.watch(over)
        return True

    def unfinished(self) -> list[Task]:
        """Return the calls to actors that have no answer."""
        tasks: list[Task] = []
        for actor in self._clients.values():
            tasks.extend(actor.queue)
            tasks.extend(actor.lost)
            if actor.peer is not None:
                tasks.extend(task for task in actor.peer.inflight.values() if task.actor is actor)
        return tasks

    def fail_all(self, error: Exception) -> None:
        """The session is over."""
        payload = dump_error(error, "shoal")
        for task in self.unfinished():
            self._client.tasks.finish_with_error(task, payload)
