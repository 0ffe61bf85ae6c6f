"""Observers: plugins that are told what happened. Absent they cost nothing, broken they do no harm.

pluggy keeps the rules (what a hook is, who implements it). It is not on the hot path: a pluggy call takes 2.5 µs with
nobody listening and one raising implementation stops the others, so hooks are resolved into plain lists here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from shoal.errors import PluginBroken
from shoal.registry.discover import find, load, refuse_doubles
from shoal.registry.drivers import Failure
from shoal.registry.groups import HOOKS

log = logging.getLogger("shoal.plugins")


@attrs.frozen(eq=False)
class Listener:
    """One observer's function for one hook."""

    plugin: str
    call: Callable[..., Any]
    takes: tuple[str, ...]


class Listeners:
    """The observers of one session. `register` before `start`; `emit` from any thread after it.

    Example: `listeners.emit("shoal_task_finished", event)` calls every observer of that hook with `event`.
    """

    __slots__ = ("_by_hook", "_plugins", "failures")

    def __init__(self, observers: Mapping[str, object] | None = None) -> None:
        """Begin with these observers, by name."""
        self._plugins: dict[str, object] = dict(observers or {})
        self._by_hook: dict[str, tuple[Listener, ...]] = {}
        self.failures: list[Failure] = []  # installed observers that could not be made

    def register(self, name: str, observer: object) -> None:
        """Add an observer. Raises PluginBroken if the name is taken."""
        if name in self._plugins:
            raise PluginBroken(f"two observers are named {name!r} (group {HOOKS.name!r}); rename one of them")
        self._plugins[name] = observer

    def find_installed(self) -> None:
        """Register every observer that an installed package has. One that cannot be made is kept in `failures`."""
        found = find(HOOKS)
        refuse_doubles(HOOKS, found)
        for one in found:
            try:
                observer = load(one)
                observer = observer() if isinstance(observer, type) else observer
            except (Exception, SystemExit) as error:  # a stranger's module may raise anything
                kept = error if isinstance(error, Exception) else PluginBroken(f"its module exits: {error}")
                self.failures.append(Failure(one, kept))
                log.warning("observer %r (%s) cannot be made and is left out: %r", one.name, one, error)
                continue
            self.register(one.name, observer)

    def start(self) -> None:
        """Resolve hooks to lists. Raises PluginBroken for a hook that does not exist, naming those that do."""
        if not self._plugins:
            return  # pluggy need not be imported
        self._by_hook = _resolve(self._plugins)

    def emit(self, hook: str, event: object) -> None:
        """Tell every observer of a hook. Never raises: an observer that does is switched off."""
        for listener in self._by_hook.get(hook, ()):
            try:
                listener.call(*((event,) if listener.takes else ()))
            except Exception:  # a stranger's function may raise anything
                log.exception("observer %r failed in %s and is now off", listener.plugin, hook)
                self._switch_off(listener.plugin)

    def listening(self, hook: str) -> bool:
        """Tell whether anyone would hear: the caller may then save the making of the event."""
        return hook in self._by_hook

    def _switch_off(self, plugin: str) -> None:
        # Built anew and swapped in one assignment, since other threads are reading the old one.
        kept = {
            hook: tuple(listener for listener in listeners if listener.plugin != plugin)
            for hook, listeners in self._by_hook.items()
        }
        self._by_hook = {hook: listeners for hook, listeners in kept.items() if listeners}


def _resolve(plugins: Mapping[str, object]) -> dict[str, tuple[Listener, ...]]:
    import pluggy

    from shoal.interfaces.hooks import PROJECT, Hooks, hook_names

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    try:
        for name, observer in plugins.items():
            manager.register(observer, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginBroken(
            f"an observer (group {HOOKS.name!r}) does not fit: {error}. The hooks are {', '.join(hook_names())}."
        ) from error
    resolved: dict[str, tuple[Listener, ...]] = {}
    for hook in hook_names():
        implementations = getattr(manager.hook, hook).get_hookimpls()
        if implementations:
            resolved[hook] = tuple(_listeners(implementations))
    return resolved


def _listeners(implementations: Iterable[Any]) -> Iterable[Listener]:
    # pluggy calls the last registered first; people expect the order in which they registered.
    for one in implementations:
        yield Listener(one.plugin_name, one.function, tuple(one.argnames))
