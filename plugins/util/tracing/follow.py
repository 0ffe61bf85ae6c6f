"""Follows calls with spans: one where a call is submitted, and below it one where it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.interfaces.current import current
from shoal.interfaces.engine import CallResult, Engine
from shoal.interfaces.following import Follower
from shoal.interfaces.refs import ObjectRef
from shoal.spec.calls import ActorInfo, ActorTemplate, MethodTemplate, TaskTemplate
from shoal.util.tracing.runs import CALL, TracedFunction, TracedMethod, set_up, span

_MOST_KEPT = 1_024  # templates with what was made of them


class Tracer(Follower):
    """Puts spans around calls, and sends along with each what its span belongs to. `hook` is run in each process."""

    def __init__(self, hook: str) -> None:
        self.hook = hook
        self._lock = threading.Lock()
        self._made: dict[int, tuple[Any, Any]] = {}  # by the template's id(): the template itself, and ours

    def __reduce__(self) -> tuple[Any, ...]:
        return Tracer, (self.hook,)

    def submit(
        self, engine: Engine, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallResult:
        ours = self._of(template, self._traced_task)
        with span(f"{template.name} task.remote", "PRODUCER", {"shoal.task": template.name}) as carrier:
            return engine.submit(ours, (carrier, *args), kwargs)

    def create_actor(
        self, engine: Engine, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorInfo, ObjectRef[Any] | None]:
        facts = {"shoal.actor.class": template.class_name}
        with span(f"{template.class_name}.remote", "PRODUCER", facts):
            return engine.create_actor(template, args, kwargs)

    def call_actor(
        self,
        engine: Engine,
        info: ActorInfo,
        template: MethodTemplate,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> CallResult:
        if template.name == CALL:  # of a library: no method of the user's
            return engine.call_actor(info, template, args, kwargs)
        name = f"{info.class_name}.{template.name}"
        facts = {"shoal.actor.class": info.class_name, "shoal.actor.method": template.name}
        with span(f"{name} actor.remote", "PRODUCER", facts) as carrier:
            if info.exactly_once:  # repeated calls are told by their method
                return engine.call_actor(info, template, args, kwargs)
            ours = self._of(template, lambda one: self._traced_method(one, name))
            traced = TracedMethod(name, template.name, self.hook, self)
            return engine.call_actor(info, ours, (traced, carrier, *args), kwargs)

    def _of(self, template: Any, make: Callable[[Any], Any]) -> Any:
        with self._lock:
            kept = self._made.get(id(template))
            if kept is None:
                if len(self._made) >= _MOST_KEPT:
                    self._made.pop(next(iter(self._made)))
                kept = self._made[id(template)] = (template, make(template))
            return kept[1]

    def _traced_task(self, template: TaskTemplate) -> TaskTemplate:
        function = TracedFunction(template.function, template.name, self.hook, self)
        return attrs.evolve(template, function=function, prepared=None)

    def _traced_method(self, template: MethodTemplate, name: str) -> MethodTemplate:
        shown = template.display_name or name
        return attrs.evolve(template, name=CALL, display_name=shown, prepared=None)


def enable_tracing(hook: str | Callable[[], None]) -> None:
    """Put spans of OpenTelemetry around the calls that this process makes, and around those that these make, anywhere.

    Parameters: `hook` is a function without parameters, as "module:function" or itself, that sets OpenTelemetry up. It
    runs here and in each worker once, before its first span, so it must be importable there.
    Raises ConfigError for what is no such function and if OpenTelemetry is not installed.

    Example: `enable_tracing("shoal.util.tracing.local_files:setup_tracing")`
    """
    name = hook if isinstance(hook, str) else _name_of(hook)
    set_up(name)
    current.follower = Tracer(name)


def disable_tracing() -> None:
    """Put no spans around the calls that this process makes from now on."""
    if isinstance(current.follower, Tracer):
        current.follower = None


def is_tracing() -> bool:
    """Tell whether this process puts spans around its calls."""
    return isinstance(current.follower, Tracer)


def _name_of(hook: Any) -> str:
    module, name = getattr(hook, "__module__", None), getattr(hook, "__qualname__", "")
    if not callable(hook) or not module or module == "__main__" or not name.isidentifier():
        raise ConfigError(
            "hook must be a function of a module that workers can import, or its name 'module:function', "
            f"not {describe(hook)}"
        )
    return f"{module}:{name}"
