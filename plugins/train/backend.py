"""Backends: what a framework needs so that its ranks find each other; plugins of the group `shoal.train.backends`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from shoal.errors import ConfigError, PluginBroken, describe

if TYPE_CHECKING:
    from shoal.train.group import WorkerGroup


class Backend:
    """What happens around the training function. Methods run in the program that called `fit()`, one after the other.

    What they raise is a failure of the group, which is counted as any other. They must come back: whatever waits in
    them has a bound. `on_shutdown` is also called when workers are dead; after it the rest are killed.
    """

    def on_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Begin: the workers are up, and nothing runs in them."""

    def on_training_start(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """Follow: the workers know their ranks; the training function is next."""

    def on_shutdown(self, worker_group: WorkerGroup, backend_config: BackendConfig) -> None:
        """End: the training function has returned, or the group is given up."""


class BackendConfig:
    """A backend, and how it is set up. It can be sent.

    Example: `DataParallelTrainer(train, backend_config=TorchConfig(backend="gloo"))`
    """

    # Modules that nodes import before they fork workers, see runtime_env's `preload`: they must start no threads.
    preload: ClassVar[tuple[str, ...]] = ()

    @property
    def backend_cls(self) -> type[Backend]:
        """The class of the backend."""
        return Backend

    @property
    def framework(self) -> str | None:
        """The framework's name, None if it is nobody's."""
        return None

    @property
    def train_func_context(self) -> Callable[[], AbstractContextManager[Any]] | None:
        """What the training function runs within, in each worker: a function that makes a context manager, or None."""
        return None

    @property
    def reset(self) -> Callable[[], None] | None:
        """What makes a worker fit for the next group after another has failed: called in its process once the training
        function has ended there; it may raise. None: such a worker's process ends with its group.
        """
        return nothing if type(self) is BackendConfig else None

    def to_dict(self) -> dict[str, Any]:
        """Return the settings."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}


def backend_config_of(given: Any) -> BackendConfig:
    """Return the configuration of a backend: one that was given, of a class, or of the plugin of that name.

    Raises ConfigError for anything else, PluginNotFound and PluginBroken.

    Example: `backend_config_of("torch")`
    """
    if given is None:
        return BackendConfig()
    if isinstance(given, BackendConfig):
        return given
    if isinstance(given, str):
        from shoal.registry.drivers import load_driver
        from shoal.registry.groups import TRAIN_BACKENDS

        loaded: Any = load_driver(TRAIN_BACKENDS, given)
        if not isinstance(loaded, type) or not issubclass(loaded, BackendConfig):
            raise PluginBroken(f"the backend {given!r} is {loaded!r}, which is no class of BackendConfig")
        return loaded()
    if isinstance(given, type) and issubclass(given, BackendConfig):
        return given()
    raise ConfigError(f"backend_config must be a BackendConfig or a plugin's name, not {describe(given)}")


def nothing() -> None:
    """Do nothing: what a worker without a framework needs before its next group."""


@contextlib.contextmanager
def plainly() -> Any:
    """Change nothing."""
    yield
