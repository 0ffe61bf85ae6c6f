"""Running tasks: at submit, as soon as arguments and resources are there."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from shoal.death import Cause, DeathCertificate
from shoal.errors import ActorExit, ConfigError, PlacementGroupRemoved, ShoalError, TaskCancelled
from shoal.inline.calls import DONE, QUEUED, RUNNING, Call, failed_argument, running
from shoal.inline.core import Core
from shoal.inline.node import GroupGone
from shoal.inline.streams import Stream
from shoal.interfaces.engine import CallResult
from shoal.interfaces.refs import ObjectRef
from shoal.serial import dump_call, dump_function, load_function, pack_bytes
from shoal.spec.calls import TaskTemplate
from shoal.spec.strategy import DefaultStrategy, PlacementGroupStrategy, Strategy
from shoal.spec.view import Demand


class Tasks:
    """Submits and runs calls of functions; runs calls of methods for the actors."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallResult:
        """Make the call, and run it if nothing is missing."""
        core = self.core
        check_environment(template.runtime_env)
        if template.prepared is None or template.prepared[0] is not core:
            refs: list[ObjectRef[Any]] = []
            template.prepared = (core, load_function(dump_function(template.function, refs), refs))
        call = make_call(core, template.name, template.function, args, kwargs)
        call.function = template.prepared[1]
        call.num_returns = template.num_returns
        call.retries, call.retry_exceptions = template.max_retries, template.retry_exceptions
        call.backpressure = template.backpressure
        call.runtime_env = template.runtime_env
        call.resources = template.resources
        call.demand = Demand(
            resources=template.resources,
            strategy=inherited(core, template.strategy),
            label_selector=template.label_selector,
            turn=core.next_turn(),
        )
        self._context_of(call)
        with contextlib.suppress(GroupGone):
            core.place(call.demand)  # raises at once for what can never run, if the configuration says so
        if call.num_returns == "streaming":
            call.stream = Stream(core, self, call)
            stream: CallResult = call.stream.generator()
            return stream
        result = core.result_refs(call)
        parent = running.get()
        if parent is not None:
            parent.children.append(call)
        self.start_if_possible(call)
        return result

    def start_if_possible(self, call: Call) -> None:
        """Run a call whose arguments and room are there; else see to it that this is tried again."""
        again = _Again(self, call)
        if call.state != QUEUED or not self.core.when_done(call.waits_for, again):
            return
        if not self.has_room(call):
            return
        self.core.run_now(lambda: self.run(call))

    def has_room(self, call: Call) -> bool:
        """Tell whether the call fits; if not, it is tried again later, or failed if it never can run."""
        try:
            if self.core.place(call.demand) is not None:
                return True
        except GroupGone:
            self.core.fail(call, PlacementGroupRemoved(f"the placement group of {call.name}() was removed"))
            return False
        except ShoalError as error:
            self.core.fail(call, error)
            return False
        self.core.when_room(_Again(self, call))
        return False

    def run(self, call: Call) -> None:
        """Run a call's attempts in this thread and store what comes of it."""
        with self.core.lock:
            if call.state != QUEUED:
                return
            call.state = RUNNING
        assert call.function is not None
        self.attempts(call, call.function)

    def attempts(self, call: Call, function: Callable[..., Any]) -> None:
        """Call until it succeeds or may not be tried again. ActorExit and KeyboardInterrupt are passed on."""
        core = self.core
        while True:
            error_of_argument = failed_argument(call)
            if error_of_argument is not None:
                core.fail(call, error_of_argument)
                return
            self._context_of(call)
            token = running.set(call)
            started = time.time()
            try:
                with environment(call.runtime_env):
                    args, kwargs = call.arguments()
                    value = function(*args, **kwargs)
                    core.finish(call, value)
                return
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
                core.note(call, started)

    def cancel(self, call: Call, recursive: bool) -> None:
        """Cancel a call that has not finished."""
        core = self.core
        with core.lock:
            call.cancelled = True
            if call.context is not None:
                call.context = attrs.evolve(call.context, cancelled=True)
            children = list(call.children) if recursive else []
            queued = call.state == QUEUED
            task = call.task
        if task is not None:
            core.loop.call(task.cancel)
        elif queued or call.stream is not None:
            core.fail(call, cancelled(call))
        for child in children:
            if child.state != DONE:
                self.cancel(child, recursive)

    def _context_of(self, call: Call) -> None:
        strategy = call.demand.strategy
        in_group = isinstance(strategy, PlacementGroupStrategy)
        gpus = int(-(-call.resources.get("GPU", 0.0) // 1))
        call.context = attrs.evolve(
            self.core.driver,
            task_id=call.task_id,
            function_name=call.function_name,
            task_name=call.name,
            resources=call.resources.to_floats(),
            accelerator_ids={"GPU": tuple(map(str, range(gpus)))} if gpus else {},
            group_id=bytes(strategy.group_id) if in_group else b"",
            capture_child_tasks=in_group and strategy.capture_child_tasks,
            runtime_env={**self.core.config.runtime_env, **(call.runtime_env or {})},
            attempt=call.attempt,
            cancelled=call.cancelled,
            is_driver=False,
        )
        if call.actor is not None:
            call.context = attrs.evolve(call.context, actor_id=call.actor.info.actor_id)


class _Again:
    """Tries a call again. A class, so that what waits can be told from other watchers."""

    __slots__ = ("call", "tasks")

    def __init__(self, tasks: Tasks, call: Call) -> None:
        self.tasks, self.call = tasks, call

    def __call__(self) -> None:
        self.tasks.start_if_possible(self.call)


def make_call(
    core: Core, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Call:
    """Pickle the arguments now, since the caller may change them later. Raises NotSerializable."""
    refs: list[ObjectRef[Any]] = []
    payload = dump_call(function, name, args, kwargs, refs)
    return Call(
        task_id=core.new_task_id(),
        name=name,
        function_name=name,
        function=None,
        packed=pack_bytes(payload),
        refs=tuple(refs),
        waits_for=tuple(arg for arg in (*args, *kwargs.values()) if type(arg) is ObjectRef),
        num_returns=1,
        retries=0,
        retry_exceptions=False,
    )


def cancelled(call: Call) -> TaskCancelled:
    """Make the error of a cancelled call."""
    certificate = DeathCertificate(
        what="task",
        identity=call.task_id.hex(),
        name=call.name,
        cause=Cause.KILLED_BY_USER,
        process=os.getpid(),
    )
    return TaskCancelled(f"{call.name}() was cancelled", certificate)


def inherited(core: Core, strategy: Strategy) -> Strategy:
    """Return the caller's placement group for work that says nothing, if the caller captures its children."""
    here = core.here()
    if here.capture_child_tasks and isinstance(strategy, DefaultStrategy):
        from shoal.ids import PlacementGroupID

        return PlacementGroupStrategy(group_id=PlacementGroupID(here.group_id), capture_child_tasks=True)
    return strategy


def check_environment(runtime_env: Mapping[str, Any] | None) -> None:
    """Refuse what one process cannot give. Raises ConfigError."""
    for key in runtime_env or ():
        if key != "env_vars":
            raise ConfigError(
                f"runtime_env has {key!r}; the inline engine runs everything in this process and knows only env_vars. "
                "Install what the program needs here, or use engine='native'"
            )


@contextlib.contextmanager
def environment(runtime_env: Mapping[str, Any] | None) -> Iterator[None]:
    """Set a call's environment variables while it runs."""
    variables = (runtime_env or {}).get("env_vars") or {}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
