"""NativeEngine: joins a process's client to the `Engine` interface. The same class serves drivers and workers."""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from shoal.errors import ConfigError, GetTimeout, ShoalError, describe
from shoal.ids import NodeID
from shoal.interfaces.engine import CallResult, Engine
from shoal.interfaces.refs import ObjectRef, ObjectRefGenerator
from shoal.native.client.records import Record
from shoal.native.process.environments import users_part
from shoal.native.wire import kinds
from shoal.spec.calls import ActorInfo, ActorTemplate, ExecutionContext, MethodTemplate, TaskTemplate
from shoal.spec.events import SessionEnded
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView, Explanation, GroupSpec, NodeView

if TYPE_CHECKING:
    import asyncio

    from shoal.config import Config
    from shoal.interfaces.looking import LogPart, SessionSeen, Watch
    from shoal.interfaces.scaling import ScalingLink
    from shoal.native.client.client import Client
    from shoal.native.process.spawn import DaemonProcess
    from shoal.native.worker.worker import Worker


class NativeEngine(Engine):
    """Processes on this machine: a daemon, workers that it forks, and this process among them.

    `worker` is None in a driver. `daemon` is the process to end with the session, in the driver that started it.
    """

    name: ClassVar[str] = "native"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {
            "async_actors",
            "clean_close",
            "device_objects",
            "durable_actors",
            "exit_signals",
            "kill_process",
            "logs",
            "ordered_async",
            "parallel",
            "placement_groups",
            "processes",
            "runtime_env",
            "stream_errors",
            "streaming",
        }
    )

    def __init__(
        self, client: Client, worker: Worker | None = None, daemon: DaemonProcess | None = None
    ) -> None:
        self.client = client
        self._worker = worker
        self.config = client.config
        self._daemon = daemon
        from shoal.native.client.values import encode

        # Bound once: the hottest calls of a program.
        self._encode = encode
        self.submit = client.tasks.submit  # type: ignore[method-assign]
        self.call_actor = client.actors.call  # type: ignore[method-assign]

    # Life

    @classmethod
    def start(cls, config: Config) -> Engine:
        if config.address is not None and config.address.startswith("shoal://"):
            from shoal.registry.drivers import load_driver
            from shoal.registry.groups import ENGINES

            outside: type[Engine] = load_driver(ENGINES, "client", config.engine_options)
            return outside.start(config)
        if config.address is not None:
            from shoal.native.process.join import join_cluster

            return join_cluster(config, cls)
        # The daemon starts first, so that both processes import their halves at the same time.
        from shoal.native.process.spawn import start_daemon

        daemon = start_daemon(config.temp_dir, config.worker_preload)
        try:
            from shoal.native.process.drive import drive
        except BaseException:
            daemon.end()
            raise
        return drive(config, daemon, cls)

    def close(self) -> None:
        if self._worker is not None:
            return
        if not self.closed and self.client.process == os.getpid():
            from shoal.native.process.drive import finish_job

            self.client.finish_logs()
            finish_job(self.client)
        self.client.close()
        if self._daemon is not None and self.client.process == os.getpid():
            self._daemon.end()
            if self.client.observing is not None:
                ended = SessionEnded(session=self.client.session.name)
                self.client.observing.listeners.emit("shoal_session_ended", ended)

    @property
    def closed(self) -> bool:
        return self.client.closed or self.client.broken is not None

    # Work

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallResult:
        result: CallResult = self.client.tasks.submit(template, args, kwargs)
        return result

    def create_actor(
        self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorInfo, ObjectRef[Any] | None]:
        from shoal.native.client.creation import create_actor

        self.client.check_usable()
        return create_actor(self.client, template, args, kwargs)

    def call_actor(
        self, info: ActorInfo, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallResult:
        result: CallResult = self.client.actors.call(info, template, args, kwargs)
        return result

    def cancel(self, ref: ObjectRef[Any] | ObjectRefGenerator[Any], force: bool, recursive: bool) -> None:
        self.client.check_usable()
        if isinstance(ref, ObjectRefGenerator):
            with self.client.reactor.lock:
                if not ref.record.finished:
                    self.client.cancel_task(ref.record.task, force, recursive)
            return
        record: Record = ref.record
        with self.client.reactor.lock:
            task = record.task
            if record.owned:
                if record.put:
                    raise TypeError(f"{ref!r} was made by put(); there is no task to cancel")
                if task is None or record.status is not None:
                    return
                if force and task.actor is not None:
                    raise ValueError(
                        "force=True cannot be used on an actor's call: it would end the actor; use kill() for that"
                    )
                self.client.cancel_task(task, force, recursive)
                return
            peers = self.client.peers
            peers.send(
                peers.get(record.object_id[:8]), [kinds.CANCEL_OBJECT, record.object_id, force, recursive]
            )
            self.client.reactor.flush()

    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        self.client.check_usable()
        with self.client.reactor.lock:
            self.client.reactor.flush()
            actor = self.client.actors.find(actor_id)
            if actor is not None and actor.state == "ALIVE":
                actor.doomed = True
            self.client.tell_daemon([kinds.KILL_ACTOR, actor_id, no_restart])
            self.client.reactor.flush()

    # Objects

    def put(self, value: Any) -> ObjectRef[Any]:
        client = self.client
        if client.broken is not None or client.process != os.getpid():
            client.check_usable()
        object_id = client.object_id(next(client.counters), 0)
        status, payload, contained = self._encode(client, value, object_id)
        record = Record(object_id, True, None)
        record.status = status
        record.payload = payload
        record.contained = contained
        record.local = 1
        record.put = True
        if status == kinds.STORED:
            with client.reactor.lock:
                client.recorder.fact(
                    "object", object=object_id, state="SEALED", size=payload[0], made_by="put"
                )
        if client.records_call_sites:
            client.note_call_site(object_id)
        if client.objects.has_dropped:
            with client.reactor.lock:
                client.objects.collect()
        return ObjectRef(object_id, self, record, client.objects.drop)

    def when_released(self, ref: ObjectRef[Any], callback: Callable[[bytes], None]) -> None:
        """Call back with the object's identifier once nobody refers to it; see SupportsDeviceObjects."""
        with self.client.reactor.lock:
            self.client.objects.when_released[ref.record.object_id] = callback

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        return self.client.get(refs, timeout)

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
        client = self.client
        client.check_usable()
        if not (fetch_local and client.peers.in_cluster):
            return client.wait(refs, num_returns, timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        ready, _ = client.wait(refs, num_returns, timeout)
        missing = client.pulls.missing_records(ref.record for ref in ready)
        if missing:
            client.pulls.wait(missing, deadline)
            late = {object_id for object_id, _ in client.pulls.missing(missing)}
            ready = [ref for ref in ready if ref.binary() not in late]
        chosen = set(ready)
        return ready, [ref for ref in refs if ref not in chosen]

    def future(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        from shoal.native.client.awaiting import thread_future

        return thread_future(self.client, ref)

    def loop_future(self, ref: ObjectRef[Any]) -> asyncio.Future[Any]:
        from shoal.native.client.awaiting import loop_future

        return loop_future(self.client, ref)

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        self.client.check_usable()
        with self.client.reactor.lock:
            for ref in refs:
                self.client.objects.free(ref.record)
            self.client.reactor.flush()

    # Streams

    def stream_next(self, stream: ObjectRefGenerator[Any], timeout: float | None) -> ObjectRef[Any]:
        state = stream.record
        deadline = None if timeout is None else time.monotonic() + timeout
        done = self.client.wait_until(
            lambda: bool(state.items) or state.finished or self.client.broken is not None, deadline
        )
        with self.client.reactor.lock:
            ref = self.client.streams.take(state)
        if ref is not None:
            return ref
        if state.finished:
            raise StopIteration
        if not done:
            raise GetTimeout(f"the generator yielded nothing for {timeout:g} s")
        self.client.check_usable()
        raise StopIteration

    def stream_next_future(
        self, stream: ObjectRefGenerator[Any]
    ) -> concurrent.futures.Future[ObjectRef[Any] | None]:
        with self.client.reactor.lock:
            future = self.client.streams.next_future(stream.record)
            self.client.reactor.flush()
        return future

    def stream_ready(self, stream: ObjectRefGenerator[Any]) -> bool:
        state = stream.record
        if not state.items and not state.finished:
            self.client.reactor.run_until(lambda: bool(state.items) or state.finished, time.monotonic())
        return bool(state.items) or state.finished

    def stream_finished(self, stream: ObjectRefGenerator[Any]) -> bool:
        return stream.record.finished and not stream.record.items

    def stream_completed(self, stream: ObjectRefGenerator[Any]) -> ObjectRef[None]:
        completed: ObjectRef[None] = stream.record.completed
        return completed

    # The directory

    def get_actor(self, name: str, namespace: str | None) -> ActorInfo:
        space = namespace or self.client.session.namespace
        found = self.client.request("get_actor", name, space)
        info: ActorInfo = pickle.loads(found["info"])
        return info

    def actors(self) -> list[ActorInfo]:
        import attrs

        infos = []
        for found in self.client.request("actors"):
            if found["info"] is None:
                infos.append(
                    ActorInfo(
                        actor_id=found["actor"],
                        class_name=found["class_name"],
                        methods={},
                        name=found["name"],
                        namespace=found["namespace"],
                        state=found["state"],
                        detached=found["detached"],
                    )
                )
            else:
                infos.append(attrs.evolve(pickle.loads(found["info"]), state=found["state"]))
        return infos

    def create_group(self, spec: GroupSpec) -> None:
        together = ResourceSet()
        for bundle in spec.bundles:
            together = together + bundle.resources
        self.client.refuse_over_quota(together, spec.name or "the placement group", ConfigError)
        wire = {
            "job": self.client.session.job_id,
            "group": bytes(spec.group_id),
            "bundles": [[bundle.resources.units, dict(bundle.label_selector)] for bundle in spec.bundles],
            "strategy": spec.strategy,
            "name": spec.name,
            "namespace": spec.namespace or self.client.session.namespace,
            "lifetime": spec.lifetime,
            "target": bytes(spec.soft_target_node) if spec.soft_target_node else b"",
        }
        if spec.name:
            self.client.request("create_group", wire)
            return
        with self.client.reactor.lock:
            self.client.check_usable()
            self.client.request_later("create_group", [wire], lambda ok, value: None)

    def group_ready(self, group_id: bytes) -> ObjectRef[Any]:
        client = self.client
        record = Record(client.object_id(next(client.counters), 0), True, None)
        with client.reactor.lock:
            client.check_usable()
            ref = client.objects.ref(record)
            client.groups.setdefault(bytes(group_id), []).append(record)
            client.request_later("watch_group", [bytes(group_id)], lambda ok, value: None)
            client.reactor.flush()
        return ref

    def remove_group(self, group_id: bytes) -> None:
        self.client.request("remove_group", bytes(group_id))

    def groups(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self.client.request("groups")
        return found

    def view(self) -> ClusterView:
        nodes = {}
        local = None
        for found in self.client.request("view"):
            node_id = NodeID(found["id"])
            nodes[node_id] = NodeView(
                node_id=node_id,
                total=ResourceSet(found["total"]),
                available=ResourceSet(found["available"]),
                labels=found["labels"],
                draining=found["draining"],
                address="127.0.0.1" if found["address"] == "local" else found["address"],
                queued=found["queued"],
            )
            if found["local"]:
                local = node_id
        return ClusterView(nodes=nodes, local=local)

    def kv_put(self, key: bytes, value: bytes, overwrite: bool, namespace: str) -> bool:
        for what, given in (("key", key), ("value", value)):
            if not isinstance(given, bytes):
                raise ConfigError(f"a {what} of the key-value store is bytes, not {describe(given)}")
        return bool(self.client.request("kv_put", namespace, key, value, overwrite))

    def kv_get(self, key: bytes, namespace: str) -> bytes | None:
        value: bytes | None = self.client.request("kv_get", namespace, key)
        return value

    def kv_delete(self, key: bytes, namespace: str) -> bool:
        return bool(self.client.request("kv_delete", namespace, key))

    def kv_keys(self, prefix: bytes, namespace: str) -> list[bytes]:
        keys: list[bytes] = self.client.request("kv_keys", namespace, prefix)
        return keys

    # Looking in

    def context(self) -> ExecutionContext:
        session = self.client.session
        worker = self._worker
        common: dict[str, Any] = {
            "job_id": session.job_id,
            "node_id": session.node_id,
            "worker_id": self.client.worker_id,
            "namespace": session.namespace,
            "session_name": session.name,
            "session_folder": session.folder,
            "shared_folder": session.store_folder,
            "address": session.folder,
            "node_labels": self.client.node_labels,
            "runtime_env": users_part(session.environment),
        }
        if worker is None:
            return ExecutionContext(**common)
        return worker.context(common)

    def explain(self, target: ObjectRef[Any] | bytes) -> Explanation:
        from shoal.native.client.explain import actor_reasons

        if isinstance(target, ObjectRef):
            return self.explain_record(target.record)
        return Explanation(
            subject=f"actor {target.hex()}", state="explained", reasons=actor_reasons(self.client, target)
        )

    def explain_record(self, record: Record) -> Explanation:
        """Explain an object."""
        subject = f"object {record.object_id.hex()}"
        if record.status == kinds.ERROR:
            return Explanation(subject=subject, state="ready: it is an error")
        if record.status is not None:
            return Explanation(subject=subject, state="ready")
        return Explanation(subject=subject, state="not ready", reasons=self.reasons(record, True))

    def reasons(self, record: Record, may_ask: bool) -> list[str]:
        """Return why an object has no value, nearest reason first. Asks others only if `may_ask`."""
        from shoal.native.client.explain import record_reasons

        try:
            if may_ask:
                return self.client.chains.follow(record)
            return record_reasons(self.client, record, False)
        except ShoalError as error:
            return [f"asking why failed: {error}"]

    def jobs(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = self.client.request("jobs")
        return found

    def dashboard_url(self) -> str:
        return str(self.client.request("dashboard"))

    def look(self, objects: bool, timeout: float) -> SessionSeen:
        from shoal.native.client.looking import look

        self.client.check_usable()
        return look(self.client, objects, timeout)

    def read_log(self, node: str, name: str, start: int, size: int, timeout: float) -> LogPart:
        from shoal.native.client.looking import read_log

        self.client.check_usable()
        return read_log(self.client, node, name, start, size, timeout)

    @classmethod
    def look_at(cls, where: str | None, config: Config, objects: bool, timeout: float) -> SessionSeen:
        from shoal.native.client.looking import look_at

        return look_at(where, config, objects, timeout)

    @classmethod
    def watch_at(cls, where: str | None, config: Config) -> Watch:
        from shoal.native.client.watching import watch_at

        return watch_at(where, config)

    def scaling(self) -> ScalingLink:
        from shoal.native.client.scaling import NativeScalingLink

        self.client.check_usable()
        return NativeScalingLink(self.client, owns=False)

    @classmethod
    def scaling_of(cls, config: Config) -> ScalingLink:
        from shoal.native.client.scaling import NativeScalingLink
        from shoal.native.process.join import observe_cluster

        return NativeScalingLink(observe_cluster(config), owns=True)

    def timeline(self) -> list[dict[str, Any]]:
        from shoal.native.client.timeline import timeline

        self.client.check_usable()
        return timeline(self.client)
