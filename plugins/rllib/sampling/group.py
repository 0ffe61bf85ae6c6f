"""The runners of an algorithm: in this process, or actors that are replaced when they die."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import shoal
from shoal.errors import ActorDied, GetTimeout
from shoal.rllib.sampling.runner import EnvRunner, Play

if TYPE_CHECKING:
    from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig

logger = logging.getLogger(__name__)
_TRIES = 3  # of one request, each by a runner that is new


class RunnerGroup:
    """Gives steps of all runners at once.

    `kind` is the class of the runners; it is made of `play` and the runner's number.

    Example: `RunnerGroup(play, config).sample(module.arrays(), 4000)`
    """

    def __init__(self, play: Play, config: AlgorithmConfig, kind: type[Any] = EnvRunner) -> None:
        self._kind = kind
        self._play = play
        self._count: int = config.num_env_runners
        self._fragment = config.rollout_fragment_length
        self._timeout: float = config.sample_timeout_s
        self._here = kind(play, 0) if not self._count else None
        self._actors: list[Any] = []
        self._made = 0
        if self._count:
            if not shoal.is_initialized():
                shoal.init()
            self._cpus = self._share(config.num_cpus_per_env_runner)
            self._actors = [self._new() for _ in range(self._count)]
            # There now: who asks next what is free hears of them, and an environment that cannot be made is told here.
            shoal.get([actor.__shoal_ready__.remote() for actor in self._actors], timeout=self._timeout)

    def sample(self, arrays: dict[str, Any], steps: int) -> list[dict[str, Any]]:
        """Return what runners saw, at least `steps` steps together. Raises what environments raise."""
        runners = max(1, self._count)
        each = math.ceil(steps / (runners * self._play.count))
        if self._fragment != "auto":
            each = math.ceil(each / self._fragment) * self._fragment
        if self._here is not None:
            return [self._here.sample(arrays, each)]
        weights = shoal.put(arrays)
        asked = [actor.sample.remote(weights, each) for actor in self._actors]
        return [self._answer(place, ref, weights, each) for place, ref in enumerate(asked)]

    @property
    def actors(self) -> list[Any]:
        """The runners that are actors, for who asks them apart."""
        return list(self._actors)

    def replace(self, place: int, why: Exception) -> Any:
        """Put a new runner in the place of one that died or gives no answer; return it."""
        logger.warning("env runner %d is replaced: %s", place, str(why).splitlines()[0])
        shoal.kill(self._actors[place])
        self._actors[place] = self._new()
        return self._actors[place]

    def stop(self) -> None:
        """End the actors."""
        if shoal.is_initialized():
            for actor in self._actors:
                shoal.kill(actor)
        self._actors = []

    def _answer(self, place: int, ref: Any, weights: Any, steps: int) -> dict[str, Any]:
        for left in reversed(range(_TRIES)):
            try:
                answer: dict[str, Any] = shoal.get(ref, timeout=self._timeout)
                return answer
            except (ActorDied, GetTimeout) as error:
                if not left:
                    raise
                ref = self.replace(place, error).sample.remote(weights, steps)
        raise AssertionError("unreachable")

    def _new(self) -> Any:
        self._made += 1
        # Processes of runners fork from one that has torch already: importing it takes seconds.
        ready = {"preload": [self._kind.__module__]}
        return shoal.remote(num_cpus=self._cpus, runtime_env=ready)(self._kind).remote(self._play, self._made)

    def _share(self, cpus: float) -> float:
        """CPUs of one runner: as asked, or a share of those that are free, so that it never waits for ever."""
        free = shoal.available_resources().get("CPU", 0.0)
        if cpus * self._count <= free:
            return cpus
        logger.warning(
            "%d env runners of %g CPUs each want more than the %g that are free: they share them",
            self._count,
            cpus,
            free,
        )
        return math.floor(free / self._count * 1000) / 1000
