"""Templates of calls: everything about a call but its arguments, made once and used for every call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import attrs

from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import DefaultStrategy, Strategy

NumReturns = int | Literal["dynamic", "streaming"]
RuntimeEnv = Mapping[str, Any]


@attrs.define(eq=False, kw_only=True)
class TaskTemplate:
    """A remote function with its options. Compared by identity; an engine keeps what it derives in `prepared`.

    `prepared` belongs to the engine that wrote it: (engine, whatever it wants).
    """

    function: Callable[..., Any]
    name: str
    resources: ResourceSet
    num_returns: NumReturns = 1
    max_retries: int = 3  # -1: without end
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    max_calls: int = 0  # 0: a worker process serves any number of calls
    strategy: Strategy = attrs.field(factory=DefaultStrategy)
    label_selector: Mapping[str, str] = attrs.field(factory=dict)
    runtime_env: RuntimeEnv | None = None
    backpressure: int = 0  # streaming: how many unread items may exist; 0: any number
    prepared: tuple[Any, Any] | None = None


@attrs.define(eq=False, kw_only=True)
class MethodTemplate:
    """One method of an actor with its options."""

    name: str
    num_returns: NumReturns = 1
    max_task_retries: int | None = None  # None: what the actor says
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    concurrency_group: str | None = None
    backpressure: int = 0
    display_name: str = ""
    tensor_transport: str | None = None  # how the tensors of its results get to others; None: like all values
    prepared: tuple[Any, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_method, (
            self.name,
            self.num_returns,
            self.max_task_retries,
            self.retry_exceptions,
            self.concurrency_group,
            self.backpressure,
            self.display_name,
            self.tensor_transport,
        )


def _restore_method(*fields: Any) -> MethodTemplate:
    names = (
        "name",
        "num_returns",
        "max_task_retries",
        "retry_exceptions",
        "concurrency_group",
        "backpressure",
        "display_name",
        "tensor_transport",
    )
    return MethodTemplate(**dict(zip(names, fields, strict=True)))


# Engines run these methods themselves: the first argument is a function, which gets the actor's instance and the rest.
CALL = MethodTemplate(name="__shoal_call__")
BESIDE = MethodTemplate(name="__shoal_beside__")  # in a thread beside the actor's other calls


@attrs.frozen(kw_only=True)
class Durability:
    """How an actor's state is kept beyond its process.

    `interval_s`: seconds between two saves at least; 0: every call is saved before it is answered. `exactly_once`: a
    call that is sent again after a restart is not applied again. `by_methods`: the class says itself what is kept, by
    `checkpoint()` and `restore(value)`.

    Example: `Durability(interval_s=0.0, exactly_once=True)`
    """

    interval_s: float = 1.0
    exactly_once: bool = False
    by_methods: bool = False


@attrs.define(eq=False, kw_only=True)
class ActorTemplate:
    """An actor class with its options.

    `placement` is what must be free to create the actor, `resources` what it holds while it lives
    (as in the reference system: one CPU to be placed and none to live, unless CPUs are asked for).
    """

    cls: type
    class_name: str
    methods: Mapping[str, MethodTemplate]
    resources: ResourceSet
    placement: ResourceSet
    is_async: bool = False
    max_restarts: int = 0  # -1: without end
    max_task_retries: int = 0
    max_concurrency: int = 1
    concurrency_groups: Mapping[str, int] = attrs.field(factory=dict)
    max_pending_calls: int = -1  # -1: no limit
    name: str | None = None
    namespace: str | None = None  # None: the session's
    detached: bool = False
    get_if_exists: bool = False
    strategy: Strategy = attrs.field(factory=DefaultStrategy)
    label_selector: Mapping[str, str] = attrs.field(factory=dict)
    runtime_env: RuntimeEnv | None = None
    durability: Durability | None = None  # None: the state ends with the process
    prepared: tuple[Any, Any] | None = None


@attrs.frozen(kw_only=True)
class ExecutionContext:
    """Where the calling code runs. Empty identifiers where there is none (a driver runs no task)."""

    job_id: bytes
    node_id: bytes
    worker_id: bytes
    task_id: bytes = b""
    actor_id: bytes = b""
    function_name: str = ""
    task_name: str = ""
    actor_name: str = ""
    namespace: str = ""
    session_name: str = ""
    session_folder: str = ""
    shared_folder: str = (
        ""  # where processes of this node may make files to map; empty if they share no memory
    )
    address: str = ""
    resources: Mapping[str, float] = attrs.field(factory=dict)
    accelerator_ids: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    node_labels: Mapping[str, str] = attrs.field(factory=dict)
    group_id: bytes = b""
    capture_child_tasks: bool = False
    runtime_env: RuntimeEnv = attrs.field(factory=dict)
    attempt: int = 0
    actor_was_restarted: bool = False
    cancelled: bool = False
    is_driver: bool = True


@attrs.frozen(kw_only=True)
class ActorInfo:
    """What the directory knows of an actor. `methods` rebuild a handle."""

    actor_id: bytes
    class_name: str
    methods: Mapping[str, MethodTemplate]
    name: str = ""
    namespace: str = ""
    state: str = "PENDING"  # PENDING, ALIVE, RESTARTING, DEAD
    detached: bool = False
    max_task_retries: int = 0
    max_pending_calls: int = -1
    is_async: bool = False
    exactly_once: bool = False
