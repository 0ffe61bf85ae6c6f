"""Actors on Ray: a host actor for each, found again by Ray's own directory."""

from __future__ import annotations

import pickle
import weakref
from typing import TYPE_CHECKING, Any

import attrs

from shoal.errors import (
    ActorDied,
    ActorNameTaken,
    ActorUnschedulable,
    ConfigError,
    PendingCallsLimitExceeded,
    TaskUnschedulable,
)
from shoal.interfaces.engine import CallResult
from shoal.interfaces.refs import ObjectRef
from shoal.onray.options import actor_options
from shoal.onray.parcels import Held, take_out, wrap
from shoal.onray.real import part
from shoal.onray.worker import AsyncHost, Host, Setup, Work
from shoal.serial import dump_call, dump_function
from shoal.spec.calls import ActorInfo, ActorTemplate, MethodTemplate

if TYPE_CHECKING:
    from shoal.onray.engine import RayEngine

_KEYS = "shoal.actors"  # of Ray's key-value store: what we know of named actors, by Ray's identifier
_STATES = {"DEPENDENCIES_UNREADY": "PENDING", "PENDING_CREATION": "PENDING"}


class Actors:
    """Creates and calls actors, and finds them."""

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine
        # A handle that Ray counts lives in the lifetime reference; those of named actors count for nothing.
        self._counted: weakref.WeakValueDictionary[bytes, Any] = weakref.WeakValueDictionary()
        self._named: dict[bytes, Any] = {}
        self._own: ActorInfo | None = None

    # Creation

    def create(
        self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorInfo, ObjectRef[Any] | None]:
        engine = self._engine
        if template.durability is not None:
            raise ConfigError(
                f"{template.class_name} is a durable actor, and the engine 'ray' keeps no states; "
                "use engine='native', or max_restarts and save the state yourself"
            )
        captured: list[ObjectRef[Any]] = []
        cls = dump_function(template.cls, captured)
        args, kwargs, waits = take_out(args, kwargs)
        refs: list[ObjectRef[Any]] = []
        parcel = wrap(dump_call(template.cls.__init__, f"{template.class_name}.__init__", args, kwargs, refs))  # type: ignore[misc]
        namespace = template.namespace or engine.context().namespace
        info = ActorInfo(
            actor_id=bytes(16),
            class_name=template.class_name,
            methods=template.methods,
            name=template.name or "",
            namespace=namespace,
            detached=template.detached,
            max_task_retries=template.max_task_retries,
            max_pending_calls=template.max_pending_calls,
            is_async=template.is_async,
        )
        if template.name and template.get_if_exists:
            found = self._find(template.name, namespace)
            if found is not None:
                return found, None
        try:
            engine.looking.check_feasible(template.placement, template.label_selector)
        except TaskUnschedulable as error:
            raise ActorUnschedulable(error.message) from None
        setup = Setup(
            cls=cls,
            settings=engine.settings,
            info=dump_function(info),
            runtime_env=pickle.dumps(dict(template.runtime_env or {})),
        )
        # Ray names its processes and log lines after the class.
        host = type(
            template.class_name, (AsyncHost if template.is_async else Host,), {"__module__": "__main__"}
        )
        make = engine.ray.remote(**actor_options(engine, template, namespace))(host)
        pairs = [(ref.binary(), ref.record.ray) for ref in captured]
        try:
            handle = make.remote(setup, parcel, pairs, *waits)
        except ValueError as error:
            if template.name and "taken" in str(error):
                if template.get_if_exists and (found := self._find(template.name, namespace)) is not None:
                    return found, None
                raise ActorNameTaken(
                    f"an actor is named {template.name!r} in namespace {namespace!r} already; "
                    "pass get_if_exists=True to share it, or kill it first"
                ) from None
            raise
        info = attrs.evolve(info, actor_id=handle._actor_id.binary())
        if template.name:
            engine.keys.put(info.actor_id, dump_function(info), True, _KEYS)
        if template.detached:
            self._named[info.actor_id] = handle
            return info, None
        return info, self.lifetime(info.actor_id + bytes(4), handle)

    def lifetime(self, identifier: bytes, handle: Any) -> ObjectRef[Any]:
        """Return a reference that keeps an actor alive, as Ray's handle inside it does."""
        self._counted[identifier[:16]] = handle
        return ObjectRef(identifier, self._engine, Held(handle, "actor"), _nothing)

    # Calls

    def call(
        self, info: ActorInfo, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallResult:
        engine = self._engine
        handle = self.handle(info)
        display = template.display_name or f"{info.class_name}.{template.name}"
        if template.prepared is None or template.prepared[0] is not engine:
            template.prepared = (engine, self._prepare(info, template, display))
        work, options = template.prepared[1]
        args, kwargs, waits = take_out(args, kwargs)
        refs: list[ObjectRef[Any]] = []
        parcel = wrap(dump_call(_unknown, display, args, kwargs, refs))
        streams = template.num_returns in ("streaming", "dynamic")
        method = (handle.stream if streams else handle.call).options(**options)
        try:
            made = method.remote(work, parcel, *waits)
        except part("exceptions").PendingCallsLimitExceeded as error:
            raise PendingCallsLimitExceeded(
                f"actor {info.class_name} has as many calls waiting as "
                f"max_pending_calls allows; wait for some first: {error}"
            ) from None
        return engine.made(template.num_returns, made, display, None)

    def _prepare(
        self, info: ActorInfo, template: MethodTemplate, display: str
    ) -> tuple[Work, dict[str, Any]]:
        from shoal.onray.failures import RetryableFailure

        retry = template.retry_exceptions
        work = Work(
            name=display,
            function_name=f"{info.class_name}.{template.name}",
            settings=self._engine.settings,
            retry=dump_function(retry) if retry else b"",
            num_returns=template.num_returns,
            method=template.name,
        )
        options: dict[str, Any] = {"name": display, "num_returns": template.num_returns}
        if template.max_task_retries is not None:
            options["max_task_retries"] = template.max_task_retries
        if retry:
            options["retry_exceptions"] = [RetryableFailure]
        if template.concurrency_group:
            options["concurrency_group"] = template.concurrency_group
        if template.num_returns == "streaming" and template.backpressure:
            options["_generator_backpressure_num_objects"] = template.backpressure
        return work, options

    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        handle = self._counted.get(actor_id) or self._named.get(actor_id)
        if handle is None:
            info = next((info for info in self.all() if info.actor_id == actor_id), None)
            if info is None or info.state == "DEAD":
                return
            handle = self.handle(info)
        self._engine.ray.kill(handle, no_restart=no_restart)

    def handle(self, info: ActorInfo) -> Any:
        """Return Ray's handle. Raises ActorDied for an actor that this process cannot reach."""
        handle = self._counted.get(info.actor_id) or self._named.get(info.actor_id)
        if handle is None and self._own is not None and self._own.actor_id == info.actor_id:
            handle = self._named[info.actor_id] = self._engine.ray.get_runtime_context().current_actor
        if handle is None and info.name:
            handle = self._named[info.actor_id] = self._engine.ray.get_actor(
                info.name, namespace=info.namespace
            )
        if handle is None:
            raise ActorDied(
                f"actor {info.class_name} {info.actor_id.hex()} is not of this session, or this process was given no "
                "handle of it"
            )
        return handle

    # The directory

    @property
    def own(self) -> ActorInfo | None:
        """The actor that this process hosts."""
        return self._own

    def be(self, info: ActorInfo) -> None:
        """Say that this process is that actor."""
        self._own = info

    def get(self, name: str, namespace: str | None) -> ActorInfo:
        namespace = namespace or self._engine.context().namespace
        info = self._find(name, namespace)
        if info is not None:
            return info
        everyone = self._engine.ray.util.list_named_actors(all_namespaces=True)
        there = sorted(one["name"] for one in everyone if one["namespace"] == namespace)
        raise ValueError(
            f"no living actor is named {name!r} in namespace {namespace!r}; there are: {', '.join(there) or 'none'}"
        )

    def _find(self, name: str, namespace: str) -> ActorInfo | None:
        try:
            handle = self._engine.ray.get_actor(name, namespace=namespace)
        except ValueError:
            return None
        actor_id: bytes = handle._actor_id.binary()
        known = self._engine.keys.get(actor_id, _KEYS)
        if known is None:
            raise ValueError(
                f"the actor {name!r} in namespace {namespace!r} was made by Ray itself, not through Shoal; "
                "call it with ray.get_actor"
            )
        self._named[actor_id] = handle
        return attrs.evolve(_info(known), actor_id=actor_id, state="ALIVE")

    def all(self) -> list[ActorInfo]:
        found = []
        for identifier, row in part("_private.state").actors().items():
            actor_id = bytes.fromhex(identifier)
            state = _STATES.get(row["State"], row["State"])
            if self._own is not None and self._own.actor_id == actor_id:
                found.append(attrs.evolve(self._own, state=state))
                continue
            known = self._engine.keys.get(actor_id, _KEYS) if row["Name"] else None
            if known is not None:
                found.append(attrs.evolve(_info(known), actor_id=actor_id, state=state))
            else:
                found.append(
                    ActorInfo(
                        actor_id=actor_id,
                        class_name=row["ActorClassName"],
                        methods={},
                        name=row["Name"],
                        detached=row["IsDetached"],
                        state=state,
                    )
                )
        return found


def _info(known: bytes) -> ActorInfo:
    info: ActorInfo = pickle.loads(known)
    return info


def _unknown(*args: Any, **kwargs: Any) -> None:
    """Stand for a method, whose parameters' names are not known here."""


def _nothing(record: Any) -> None:
    """Ray counts its own references."""
