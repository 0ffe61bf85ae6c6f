"""Looking at a session from inside or outside, living or dead: for libraries that show what goes on.

    seen = look()                          # the session of this process
    seen = look("/tmp/shoal-0/session_…")  # any session of this user, or the folder that a dead one has left
    blocks, losses = events(seen)

What is told comes from the event logs of the session's nodes; see docs/state.md for the events.
"""

from __future__ import annotations

from shoal.config import Config, load_config
from shoal.errors import ConfigError
from shoal.interfaces.current import current
from shoal.interfaces.engine import Engine
from shoal.interfaces.looking import NodeSeen, SessionSeen, SupportsLooking, SupportsWatching, Watch
from shoal.observe.eventlog import CALL_FIELDS, FAILED
from shoal.observe.eventreader import Block, Losses, count_losses, parse_new, read_blocks

__all__ = [
    "CALL_FIELDS",
    "FAILED",
    "Block",
    "Losses",
    "NodeSeen",
    "SessionSeen",
    "SupportsLooking",
    "Watch",
    "count_losses",
    "events",
    "look",
    "parse_new",
    "watch",
]


def look(where: str | None = None, *, objects: bool = False, timeout: float = 30.0) -> SessionSeen:
    """Return what a session tells.

    Parameters: `where` is None for the session of this process, or if it has none for the only one that lives on this
    machine; else a folder, the end of a session's name, its driver's process or a cluster's HOST:PORT. `objects` asks
    all processes what objects they hold as well, which costs them a moment. `timeout` is in seconds.
    Raises ConfigError if there is no such session or its engine cannot be looked at, GetTimeout if it does not answer.

    Example: `[node.node for node in look().nodes]`
    """
    engine = current.engine
    if where is None and engine is not None and not engine.closed:
        if not isinstance(engine, SupportsLooking):
            raise ConfigError(
                f"the engine {engine.name!r} keeps no events: what it knows is in this process, see shoal.timeline()"
            )
        return engine.look(objects, timeout)
    config, driver = _driver()
    if not issubclass(driver, SupportsLooking):
        raise ConfigError(f"sessions of the engine {config.engine!r} cannot be looked at from outside")
    return driver.look_at(where, config, objects, timeout)


def watch(where: str | None = None) -> Watch:
    """Return what looks at a session again and again, for a page that shows it; close it in the end.

    `where` is that of `look`. Raises ConfigError if there is no such session or its engine cannot be watched,
    SystemFailure if it cannot be connected to.

    Example: `watching = watch("/tmp/shoal-0/session_…"); watching.look(False, 10.0).is_live`
    """
    config, driver = _driver()
    if not issubclass(driver, SupportsWatching):
        raise ConfigError(f"sessions of the engine {config.engine!r} cannot be watched from outside")
    return driver.watch_at(where, config)


def _driver() -> tuple[Config, type[Engine]]:
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import ENGINES

    config = load_config()
    return config, load_driver(ENGINES, config.engine)


def events(seen: SessionSeen) -> tuple[list[Block], Losses]:
    """Return the blocks of events that all nodes of a session have told, and what is missing."""
    blocks, losses = read_blocks(part for node in seen.nodes for part in node.log)
    losses.silent = seen.silent + sum(node.silent for node in seen.nodes)
    return blocks, losses
