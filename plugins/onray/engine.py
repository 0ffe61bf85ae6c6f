"""The engine `ray`: every call becomes one of Ray's, on a Ray that it starts or joins."""

from __future__ import annotations

import concurrent.futures
import contextlib
import pickle
import socket
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from shoal.config import Config
from shoal.errors import ConfigError, GetTimeout, ObjectFreed, SystemFailure
from shoal.interfaces.engine import CallResult, Engine
from shoal.interfaces.refs import ObjectRef, ObjectRefGenerator
from shoal.onray.actors import Actors
from shoal.onray.failures import translate
from shoal.onray.groups import Groups
from shoal.onray.keys import Keys
from shoal.onray.looking import Looking
from shoal.onray.options import task_options
from shoal.onray.parcels import Held, identify, open_wrapped, short, take_out, wrap, wrap_value
from shoal.onray.real import load_ray
from shoal.onray.worker import Work, task_body
from shoal.serial import dump_call, dump_function
from shoal.spec.calls import ActorInfo, ActorTemplate, ExecutionContext, MethodTemplate, TaskTemplate
from shoal.spec.strategy import PlacementGroupStrategy
from shoal.spec.view import ClusterView, Explanation, GroupSpec

_REACH_SECONDS = 10.0  # for a connection to a cluster's address


class RayEngine(Engine):
    """Runs the program on Ray: our pickles, references and errors, Ray's processes, scheduler and object store.

    `address` joins a running cluster, as `ray.init(address=…)` does; without one a Ray of this machine is started and
    ends with the session. In Ray's workers the public API talks to an engine of the same kind, made at the first call.
    """

    name: ClassVar[str] = "ray"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {
            "async_actors",
            "kill_process",
            "parallel",
            "placement_groups",
            "processes",
            "runtime_env",
            "streaming",
        }
    )

    def __init__(self, config: Config, namespace: str, is_driver: bool) -> None:
        self.ray: Any = load_ray()
        self.config = config
        self.namespace = namespace
        self.is_driver = is_driver
        self.settings: bytes = pickle.dumps((config.to_wire(), namespace))
        self.keys: Keys = Keys()
        self.looking: Looking = Looking(self)
        self.placement: Groups = Groups(self)
        self.actors_of: Actors = Actors(self)
        self._closed = False
        self._node_hex = ""

    # Life

    @classmethod
    def start(cls, config: Config) -> RayEngine:
        from shoal.registry.drivers import load_driver
        from shoal.registry.groups import SCHEDULERS

        # Ray schedules by itself; a name or option that is wrong is refused all the same, as on the other engines.
        scheduler = load_driver(SCHEDULERS, config.scheduler, config.scheduler_options)
        scheduler(config.scheduler_options)
        ray = load_ray()
        if config.address is not None:
            _check_reachable(config.address)
        try:
            ray.init(**_init_arguments(config))
        except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
            hint = "; if it asks for a token, set RAY_AUTH_MODE=token as well" if config.address else ""
            raise SystemFailure(f"Ray did not come up: {error}{hint}") from error
        try:
            return cls(config, ray.get_runtime_context().namespace, True)
        except BaseException:
            ray.shutdown()
            raise

    @classmethod
    def in_worker(cls, settings: bytes) -> RayEngine:
        """Return the engine of a Ray worker, from the driver's settings."""
        values, namespace = pickle.loads(settings)
        return cls(Config.from_wire(values), namespace, False)

    def inside(self, info: ActorInfo) -> None:
        """Say that this process hosts an actor."""
        self.actors_of.be(info)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self.is_driver:
            self.ray.shutdown()

    @property
    def closed(self) -> bool:
        return self._closed or not self.ray.is_initialized()

    @property
    def node_hex(self) -> str:
        """The node's identifier, for errors."""
        if not self._node_hex:
            node = self.ray.get_runtime_context().get_node_id()
            self._node_hex = short(bytes.fromhex(node), 8).hex()
        return self._node_hex

    def reference(self, identifier: bytes, thing: Any) -> ObjectRef[Any]:
        """Return our reference for Ray's, or for a handle of an actor."""
        if hasattr(thing, "_ray_actor_id"):
            return self.actors_of.lifetime(identifier, thing)
        return ObjectRef(identifier, self, Held(thing), _nothing)

    def made(self, num_returns: Any, made: Any, name: str, demand: Any) -> CallResult:
        """Return a call's result in the form that num_returns asks for."""
        if num_returns == 0:
            return None
        if num_returns == "streaming":
            first = identify(made._generator_ref)
            return ObjectRefGenerator(first[:16], self, Held(made, name, demand), _nothing)
        if isinstance(made, list):
            return [ObjectRef(identify(ref), self, Held(ref, name, demand), _nothing) for ref in made]
        return ObjectRef(identify(made), self, Held(made, name, demand), _nothing)

    # Work

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallResult:
        if template.prepared is None or template.prepared[0] is not self:
            template.prepared = (self, self._prepare(template))
        function, captured = template.prepared[1]
        if isinstance(template.strategy, PlacementGroupStrategy):
            self.placement.check_lives(template.strategy.group_id)
        self.looking.check_feasible(template.resources, template.label_selector)
        args, kwargs, waits = take_out(args, kwargs)
        refs: list[ObjectRef[Any]] = []
        parcel = wrap(dump_call(template.function, template.name, args, kwargs, refs))
        made = function.remote(parcel, captured, *waits)
        return self.made(template.num_returns, made, template.name, template.resources)

    def _prepare(self, template: TaskTemplate) -> tuple[Any, Any]:
        refs: list[ObjectRef[Any]] = []
        dumped = dump_function(template.function, refs)
        retry = template.retry_exceptions
        work = Work(
            name=template.name,
            function_name=template.name,
            settings=self.settings,
            function=dumped,
            retry=dump_function(retry) if retry else b"",
            num_returns=template.num_returns,
            runtime_env=pickle.dumps(dict(template.runtime_env or {})),
        )
        body = task_body(work)
        body.__name__ = body.__qualname__ = template.name
        body.__module__ = getattr(template.function, "__module__", None) or "__main__"  # what Ray shows
        with warnings.catch_warnings():
            # Ray advises "streaming" instead of "dynamic"; the program's author was asked for nothing like it.
            warnings.filterwarnings("ignore", message=".*dynamic.*deprecated")
            function = self.ray.remote(body).options(**task_options(self, template))
        return function, [(ref.binary(), ref.record.ray) for ref in refs] or None

    def create_actor(
        self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorInfo, ObjectRef[Any] | None]:
        if isinstance(template.strategy, PlacementGroupStrategy):
            self.placement.check_lives(template.strategy.group_id)
        return self.actors_of.create(template, args, kwargs)

    def call_actor(
        self, info: ActorInfo, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallResult:
        return self.actors_of.call(info, template, args, kwargs)

    def cancel(self, ref: ObjectRef[Any] | ObjectRefGenerator[Any], force: bool, recursive: bool) -> None:
        if isinstance(ref, ObjectRef) and ref.id.result_index() == 0:
            raise TypeError(f"{ref!r} was made by put(); only what a call returned can be cancelled")
        with _ours():
            try:
                self.ray.cancel(ref.record.ray, force=force, recursive=recursive)
            except ValueError as error:
                if force:
                    raise ValueError(
                        f"force=True would end the whole actor; use kill() for that ({error})"
                    ) from None
                raise

    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        self.actors_of.kill(bytes(actor_id), no_restart)

    # Objects

    def put(self, value: Any) -> ObjectRef[Any]:
        wrapped = wrap_value(value)
        with _ours():
            ref = self.ray.put(wrapped)
        return ObjectRef(identify(ref, put=True), self, Held(ref, "put"), _nothing)

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        wanted = [ref.record.ray for ref in refs]
        if None in wanted:
            freed = refs[wanted.index(None)]
            raise ObjectFreed(f"object {freed.hex()} was freed; do not keep references to what you free")
        end = None if timeout is None else time.monotonic() + timeout
        with _ours():
            try:
                found = self.ray.get(wanted, timeout=timeout)
            except self.ray.exceptions.GetTimeoutError:
                raise
            except Exception:  # Ray raises the error that comes first; ours is the one that stands first
                for one in wanted:
                    self.ray.get(one, timeout=None if end is None else max(0.0, end - time.monotonic()))
                raise
        return [open_wrapped(self, wrapped) for wrapped in found]

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
        by_ray = {ref.record.ray: ref for ref in refs}
        with _ours():
            ready, _ = self.ray.wait(
                list(by_ray), num_returns=num_returns, timeout=timeout, fetch_local=fetch_local
            )
            if len(ready) < len(refs) and ready != list(by_ray)[: len(ready)]:
                # Ray takes any that are ready; ours are the first in the order given.
                most = len(ready)
                ready, _ = self.ray.wait(
                    list(by_ray), num_returns=len(by_ray), timeout=0, fetch_local=fetch_local
                )
                found = set(ready)
                ready = [ref for ref in by_ray if ref in found][: max(most, num_returns)]
        done = {by_ray[ref] for ref in ready}
        return [ref for ref in refs if ref in done], [ref for ref in refs if ref not in done]

    def future(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def complete(done: concurrent.futures.Future[Any]) -> None:
            if future.set_running_or_notify_cancel():
                _settle(future, lambda: open_wrapped(self, done.result()))

        ref.record.ray.future().add_done_callback(complete)
        return future

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        # Ray has no call for it any more: this process lets go, and Ray deletes what nobody else holds.
        for ref in refs:
            ref.record.ray = None

    # Streams

    def stream_next(self, stream: ObjectRefGenerator[Any], timeout: float | None) -> ObjectRef[Any]:
        generator = stream.record.ray
        with _ours():
            if timeout is not None and not self.ray.wait([generator], timeout=timeout, fetch_local=False)[0]:
                raise GetTimeout(f"the generator {stream.record.name}() yielded nothing in {timeout} seconds")
            ref = next(generator)
        return ObjectRef(identify(ref), self, Held(ref, stream.record.name), _nothing)

    def stream_next_future(
        self, stream: ObjectRefGenerator[Any]
    ) -> concurrent.futures.Future[ObjectRef[Any] | None]:
        future: concurrent.futures.Future[ObjectRef[Any] | None] = concurrent.futures.Future()

        def take() -> ObjectRef[Any] | None:
            try:
                return self.stream_next(stream, None)
            except StopIteration:
                return None

        thread = threading.Thread(target=_settle, args=(future, take), name="shoal-ray-stream", daemon=True)
        thread.start()
        return future

    def stream_ready(self, stream: ObjectRefGenerator[Any]) -> bool:
        generator = stream.record.ray
        return bool(generator.is_finished() or generator.next_ready())

    def stream_finished(self, stream: ObjectRefGenerator[Any]) -> bool:
        return bool(stream.record.ray.is_finished())

    def stream_completed(self, stream: ObjectRefGenerator[Any]) -> ObjectRef[None]:
        ref = stream.record.ray.completed()
        return ObjectRef(identify(ref), self, Held(ref, stream.record.name), _nothing)

    # The directory

    def get_actor(self, name: str, namespace: str | None) -> ActorInfo:
        return self.actors_of.get(name, namespace)

    def actors(self) -> list[ActorInfo]:
        return self.actors_of.all()

    def create_group(self, spec: GroupSpec) -> None:
        self.placement.create(spec)

    def group_ready(self, group_id: bytes) -> ObjectRef[Any]:
        return self.placement.ready(group_id)

    def remove_group(self, group_id: bytes) -> None:
        self.placement.remove(group_id)

    def groups(self) -> list[Mapping[str, Any]]:
        return self.placement.all()

    def view(self) -> ClusterView:
        return self.looking.view()

    def kv_put(self, key: bytes, value: bytes, overwrite: bool, namespace: str) -> bool:
        return self.keys.put(key, value, overwrite, "user/" + namespace)

    def kv_get(self, key: bytes, namespace: str) -> bytes | None:
        return self.keys.get(key, "user/" + namespace)

    def kv_delete(self, key: bytes, namespace: str) -> bool:
        return self.keys.delete(key, "user/" + namespace)

    def kv_keys(self, prefix: bytes, namespace: str) -> list[bytes]:
        return self.keys.all(prefix, "user/" + namespace)

    # Looking in

    def context(self) -> ExecutionContext:
        return self.looking.context()

    def explain(self, target: ObjectRef[Any] | bytes) -> Explanation:
        return self.looking.explain(target)

    def timeline(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.ray.timeline() or []
        most = self.config.timeline_events_max
        return [
            {**event, "name": event["cat"].removeprefix("task::")}
            for event in (events[-most:] if most else [])
            if event["cat"].startswith("task::")
        ]


def _check_reachable(address: str) -> None:
    """Raise ConfigError for another kind of address, SystemFailure if nobody is there: Ray itself tries for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise ConfigError(
            f"address {address!r} is no address of a Ray cluster's control service; "
            "pass HOST:PORT (Ray's port is 6379 unless told otherwise), or 'auto' on a machine of the cluster"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SystemFailure(f"no Ray cluster can be reached at {address}: {error}") from error


def _init_arguments(config: Config) -> dict[str, Any]:
    given: dict[str, Any] = {
        "namespace": config.namespace,
        "log_to_driver": config.log_to_driver,
        "logging_level": config.log_level.upper(),
        "configure_logging": False,
    }
    if config.runtime_env:
        given["runtime_env"] = dict(config.runtime_env)
    if config.address is not None:
        return {**given, "address": config.address}
    cpus = config.num_cpus
    return {
        **given,
        "address": "local",
        "num_cpus": int(cpus) if cpus is not None and cpus == int(cpus) else cpus,
        "num_gpus": config.num_gpus,
        "resources": dict(config.resources) or None,
        "labels": dict(config.labels) or None,
        "object_store_memory": config.object_store_bytes,
        "_memory": config.memory_bytes,
        "_temp_dir": config.temp_dir,
        "include_dashboard": False,
    }


class _ours(contextlib.AbstractContextManager[None]):  # noqa: N801 - reads as a verb: with _ours(): …
    """Let Ray's errors leave the block as ours."""

    __slots__ = ()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            ours = translate(error)
            if ours is not error:
                ours.__suppress_context__ = (
                    True  # `from None` would take the user's own exception off __cause__
                )
                raise ours


def _settle(future: concurrent.futures.Future[Any], take: Callable[[], Any]) -> None:
    try:
        value = take()
    except BaseException as error:  # the value's own error belongs to whoever reads the future
        future.set_exception(translate(error))
    else:
        future.set_result(value)


def _nothing(record: Any) -> None:
    """Ray counts its own references."""
