"""Workers with a framework's ranks, for libraries that train in a way of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import shoal
from shoal.train.backend import BackendConfig, backend_config_of
from shoal.train.config import ScalingConfig
from shoal.train.group import CALL_SECONDS, Placer, WorkerGroup
from shoal.train.session import Orders


class RankedWorkers:
    """Workers whose ranks have met by a backend: processes that functions are called in, all of them or one.

    `group` is what backends work with: `group.execute(function)` calls a function in every worker. There is no training
    function, and no reports or checkpoints: who makes them leads them.

    Parameters: `scaling` says how many and what each has; `backend` is a configuration, a class of them or the name of
    a plugin of `shoal.train.backends`; `runtime_env` is the workers'.

    Raises ConfigError if they can never have a place, and what the backend raises.

    Example:
        workers = RankedWorkers(ScalingConfig(num_workers=2), "torch")
        workers.group.execute(learn, batch)
        workers.stop()
    """

    def __init__(
        self,
        scaling: ScalingConfig,
        backend: Any = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        self._config: BackendConfig = backend_config_of(backend)
        env = {"preload": list(self._config.preload), **(runtime_env or {})}
        self._placer = Placer(scaling, env, lambda said: None)
        self._backend = self._config.backend_cls()
        self.group: WorkerGroup = self._placer.start()
        with self._ended_if_it_fails():
            shoal.get(
                [
                    worker.actor.prepare.remote(worker.metadata.place, _ORDERS, {}, [])
                    for worker in self.group.workers
                ],
                timeout=CALL_SECONDS,
            )
            self._backend.on_start(self.group, self._config)
            self._backend.on_training_start(self.group, self._config)

    def stop(self) -> None:
        """End the workers. Again does nothing."""
        if not shoal.is_initialized():
            return
        with contextlib.suppress(shoal.errors.ShoalError):
            self._backend.on_shutdown(self.group, self._config)
        self.group.end()

    @contextlib.contextmanager
    def _ended_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.group.end()
            raise


_NOWHERE: Any = None  # there is nothing to store
_ORDERS = Orders(experiment="", storage=_NOWHERE, checkpoint=None, first_index=0, mesh={}, metadata={})
