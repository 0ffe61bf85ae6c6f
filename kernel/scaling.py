"""Growing and shrinking sessions: for autoscalers, and for programs that say what they will need.

link = scaling_link()          # of this process's session
link.request([Need(resources=ResourceSet.of(CPU=4))])
provider = load_nodes("process", "mine", start, {"folder": "/tmp/machines"})
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from shoal.config import Config, load_config
from shoal.errors import ConfigError, NodeProviderError, NotInitialized
from shoal.interfaces.current import current
from shoal.interfaces.nodes import GONE, NodeProvider, NodeStart
from shoal.interfaces.scaling import ScalingLink, ScalingPolicy, SupportsScaling

__all__ = ["end_machines", "link_to", "load_nodes", "load_policy", "scaling_link"]


def scaling_link() -> ScalingLink:
    """Return the link to the session of this process.

    Raises NotInitialized without one, ConfigError if sessions of its engine cannot grow.
    """
    engine = current.engine
    if engine is None or engine.closed:
        raise NotInitialized("this process is in no session: call shoal.init() first")
    if not isinstance(engine, SupportsScaling):
        raise ConfigError(f"a session of the engine {engine.name!r} cannot grow: it has what it has")
    return engine.scaling()


def link_to(address: str, temp_dir: str | None = None) -> ScalingLink:
    """Return a link to the cluster at HOST:PORT, of which a node runs on this machine. Raises ConfigError.

    Example: `link_to("127.0.0.1:6389").view().needs`.
    """
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import ENGINES

    config: Config = load_config({"address": address, **({"temp_dir": temp_dir} if temp_dir else {})})
    driver = load_driver(ENGINES, config.engine)
    if not issubclass(driver, SupportsScaling):
        raise ConfigError(f"sessions of the engine {config.engine!r} cannot grow")
    return driver.scaling_of(config)


def load_nodes(
    name: str, cluster: str, start: NodeStart, options: Mapping[str, Any] | None = None
) -> NodeProvider:
    """Return the node provider of a name, for one cluster. Raises PluginNotFound, PluginBroken, ConfigError."""
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import NODES

    return load_driver(NODES, name, options)(cluster, start, options)


def end_machines(provider: NodeProvider, seconds: float = 120.0) -> int:
    """End all machines of a provider's cluster and wait until they are gone; return how many there were.

    Raises NodeProviderError, also if some are left after so many seconds.
    """
    deadline = time.monotonic() + seconds
    seen: set[str] = set()
    while True:
        machines = provider.machines()
        seen |= {one.machine_id for one in machines}
        if machines:
            provider.terminate([one.machine_id for one in machines])
        left = [one.machine_id for one in machines if one.state != GONE]
        if not left:
            return len(seen)
        if time.monotonic() > deadline:
            raise NodeProviderError(
                provider.name, f"end {', '.join(left)}", f"still there after {seconds:g} s"
            )
        time.sleep(0.2)


def load_policy(name: str, options: Mapping[str, Any] | None = None) -> ScalingPolicy:
    """Return the scaling policy of a name. Raises PluginNotFound, PluginBroken, ConfigError.

    Example: `load_policy("headroom", {"share": 0.5})`.
    """
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import SCALING

    return load_driver(SCALING, name, options)(options)
