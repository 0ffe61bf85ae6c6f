"""Creating actors."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from shoal.errors import ActorNameTaken, ActorUnschedulable
from shoal.interfaces.refs import ObjectRef
from shoal.native.client import arguments
from shoal.native.client.functions import actor_to_wire, demand_to_wire
from shoal.native.client.records import Record, Task
from shoal.native.client.values import NONE_PICKLE
from shoal.native.wire import kinds
from shoal.serial import dump_function, function_hash
from shoal.spec.calls import ActorInfo, ActorTemplate

if TYPE_CHECKING:
    from shoal.native.client.client import Client


class PreparedClass:
    """An actor template, ready to be sent: the class is pickled once, here."""

    __slots__ = ("captured", "hash", "name", "pickled", "sent")

    def __init__(self, template: ActorTemplate) -> None:
        captured: list[ObjectRef[Any]] = []
        self.pickled = dump_function(template.cls, captured)
        self.captured = captured
        self.hash = function_hash(self.pickled)
        self.name = f"{template.class_name}.__init__"
        self.sent = False


def create_actor(
    client: Client, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[ActorInfo, ObjectRef[Any] | None]:
    """Create an actor; see Engine.create_actor."""
    prepared = template.prepared
    if prepared is None or prepared[0] is not client:
        prepared = template.prepared = (client, PreparedClass(template))
    cls: PreparedClass = prepared[1]
    task = arguments.make_task(client, cls, getattr(template.cls, "__init__", None), args, kwargs)
    token_id = client.object_id(task.counter, 0)
    namespace = template.namespace or client.session.namespace
    info = ActorInfo(
        actor_id=token_id[:16],
        class_name=template.class_name,
        methods=dict(template.methods),
        name=template.name or "",
        namespace=namespace,
        detached=template.detached,
        max_task_retries=template.max_task_retries,
        max_pending_calls=template.max_pending_calls,
        is_async=template.is_async,
        exactly_once=template.durability is not None and template.durability.exactly_once,
    )
    wire = _wire(client, template, cls, info)
    with client.reactor.lock:
        ready = task.slots is None or arguments.resolve(
            client, task, lambda task: _send_arguments(client, info, task)
        )
        failed = arguments.failed_argument(task) if ready else None
        if ready and failed is None:
            wire["arguments"] = task.payload
            wire["extra"] = arguments.extra_for(client, task)
        if cls.captured:
            wire["captured"] = client.objects.export(cls.captured)
        if not template.name:
            client.request_later("create_actor", [wire], lambda ok, value: None)
    if template.name:
        answer = client.request("create_actor", wire)
        if "taken" in answer:
            raise ActorNameTaken(
                f"an actor named {template.name!r} lives in namespace {namespace!r} (class "
                f"{answer['taken']['class_name']}); use get_actor(), get_if_exists=True, or another name"
            )
        if "existing" in answer:
            existing: ActorInfo = pickle.loads(answer["existing"]["info"])
            return existing, None
    cls.sent = True
    with client.reactor.lock:
        client.creations[info.actor_id] = (task, cls)
        client.actors.client(info)
        if failed is not None:
            client.request_later(
                "actor_arguments_failed", [info.actor_id, failed.payload], lambda ok, value: None
            )
        token = None
        if not template.detached:
            record = Record(token_id, True, None)
            record.status = kinds.PLAIN
            record.payload = NONE_PICKLE
            client.actors.tokens[token_id] = info.actor_id
            token = client.objects.ref(record)
        client.reactor.flush()
    return info, token


def _send_arguments(client: Client, info: ActorInfo, task: Task) -> None:
    """The values that the constructor waits for have arrived."""
    failed = arguments.failed_argument(task)
    if failed is not None:
        client.request_later(
            "actor_arguments_failed", [info.actor_id, failed.payload], lambda ok, value: None
        )
        return
    sent = [info.actor_id, task.payload, arguments.extra_for(client, task)]
    client.request_later("actor_arguments", sent, lambda ok, value: None)


def _wire(client: Client, template: ActorTemplate, cls: PreparedClass, info: ActorInfo) -> dict[str, Any]:
    environment = client.environment(template.runtime_env)
    strategy = client.inherit_group(template.strategy)
    key, demand = demand_to_wire(
        template.placement,
        strategy,
        template.label_selector,
        environment,
        template.class_name,
        template.max_restarts != 0,
    )
    client.refuse_over_quota(template.placement, template.class_name, ActorUnschedulable)
    client.refuse_infeasible(demand, ActorUnschedulable)
    return {
        "actor": info.actor_id,
        "name": info.name,
        "namespace": info.namespace,
        "detached": template.detached,
        "get_if_exists": template.get_if_exists,
        "max_restarts": template.max_restarts,
        "class": None if cls.sent else cls.pickled,
        "class_hash": cls.hash,
        "captured": None,
        "arguments": None,
        "extra": None,
        "options": actor_to_wire(template),
        "living": dict(template.resources.units),
        "class_key": key,
        "demand": demand,
        "depth": client.depth,
        "info": pickle.dumps(info),
    }
