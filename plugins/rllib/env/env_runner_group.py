"""Runners of an algorithm by its components: in its process, or actors that are replaced when they die."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import shoal
from shoal.errors import ActorDied, GetTimeout, ShoalError
from shoal.rllib.core.columns import COMPONENT_ENV_TO_MODULE_CONNECTOR, COMPONENT_RL_MODULE
from shoal.rllib.env.env_runner import EnvRunner

logger = logging.getLogger(__name__)


class EnvRunnerGroup:
    """All runners: `num_env_runners` actors, or one in this process if that is 0.

    A runner that dies, or gives no answer within `sample_timeout_s`, is replaced by a new one with the weights of the
    last `sync_weights`; what it would have answered is left out.

    Parameters: `config` is the algorithm's; its `env_runner_cls` are made.

    Example: `EnvRunnerGroup(config=config).foreach_env_runner(lambda runner: runner.sample())`
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        self._config = config
        self._kind: type[EnvRunner] = config.runner_class()
        self._count: int = config.num_env_runners
        self._timeout: float = config.sample_timeout_s
        self._restarts = 0
        self._made = 0
        self._state: Any = None  # a reference, for runners that are new
        self._actors: dict[int, Any] = {}
        self._waiting: dict[Any, tuple[int, str | None]] = {}
        self._here: EnvRunner | None = None
        if not self._count:
            self._here = self._kind(config=config, worker_index=0, num_workers=0)
            return
        if not shoal.is_initialized():
            shoal.init()
        free = shoal.available_resources().get("CPU", 0.0)
        wanted = config.num_cpus_per_env_runner
        self._cpus = wanted if wanted * self._count <= free else math.floor(free / self._count * 1000) / 1000
        self._actors = {number: self._new(number) for number in range(1, self._count + 1)}
        shoal.get([actor.ping.remote() for actor in self._actors.values()], timeout=self._timeout)

    @property
    def local_env_runner(self) -> EnvRunner | None:
        """The runner in this process, if there is one."""
        return self._here

    def foreach_env_runner(
        self,
        func: str | Sequence[str] | Callable[..., Any] | Sequence[Callable[..., Any]],
        *,
        kwargs: dict[str, Any] | None = None,
        local_env_runner: bool = True,
        healthy_only: bool = True,
        remote_worker_ids: Sequence[int] | None = None,
        timeout_seconds: float | None = None,
        return_obj_refs: bool = False,
        mark_healthy: bool = False,
    ) -> list[Any]:
        """Return what a function of (runner, kwargs), or a method by its name, gives for each runner.

        Several functions are one for each. Runners that died are replaced and left out; what functions raise is raised.
        """
        found: list[Any] = []
        more = kwargs or {}
        if local_env_runner and self._here is not None:
            first = func if isinstance(func, str) or callable(func) else func[0]
            found.append(_called(self._here, first, more))
        numbers = [each for each in self._actors if remote_worker_ids is None or each in remote_worker_ids]
        asked = []
        for place, number in enumerate(numbers):
            each = func if isinstance(func, str) or callable(func) else func[place]
            asked.append((number, self._ask(number, each, more)))
        if return_obj_refs:
            return [*found, *(ref for _, ref in asked)]
        limit = self._timeout if timeout_seconds is None else timeout_seconds
        for number, ref in asked:
            try:
                found.append(shoal.get(ref, timeout=limit))
            except (ActorDied, GetTimeout) as error:
                self._replace(number, error)
        return found

    def foreach_env_runner_async(
        self,
        func: str | Callable[..., Any],
        tag: str | None = None,
        *,
        kwargs: dict[str, Any] | None = None,
        healthy_only: bool = True,
        remote_worker_ids: Sequence[int] | None = None,
    ) -> int:
        """Ask runners that are actors without waiting; return how many were asked.

        One with `max_requests_in_flight_per_env_runner` questions waiting is not asked.
        """
        most = self._config.max_requests_in_flight_per_env_runner
        asked = 0
        for number in self._actors if remote_worker_ids is None else remote_worker_ids:
            if sum(each == number for each, _ in self._waiting.values()) < most:
                self._waiting[self._ask(number, func, kwargs or {})] = (number, tag)
                asked += 1
        return asked

    def fetch_ready_async_reqs(
        self,
        *,
        tags: Sequence[str] = (),
        timeout_seconds: float | None = 0.0,
        return_obj_refs: bool = False,
        mark_healthy: bool = False,
    ) -> list[tuple[int, Any]]:
        """Return (runner's number, answer) of questions that are answered, waiting at most that long for one."""
        listed = [ref for ref, (_, tag) in self._waiting.items() if not tags or tag in tags]
        if not listed:
            return []
        ready, _ = shoal.wait(listed, num_returns=len(listed), timeout=timeout_seconds)
        answers: list[tuple[int, Any]] = []
        for ref in ready:
            number, _ = self._waiting.pop(ref)
            if return_obj_refs:
                answers.append((number, ref))
                continue
            try:
                answers.append((number, shoal.get(ref, timeout=self._timeout)))
            except (ActorDied, GetTimeout) as error:
                self._replace(number, error)
        return answers

    def foreach_env_runner_async_fetch_ready(
        self,
        func: str | Callable[..., Any],
        kwargs: dict[str, Any] | None = None,
        tag: str | None = None,
        timeout_seconds: float | None = 0.0,
        return_obj_refs: bool = False,
        mark_healthy: bool = False,
        healthy_only: bool = True,
        remote_worker_ids: Sequence[int] | None = None,
        return_actor_ids: bool = False,
    ) -> list[Any]:
        """Ask, and return the answers of questions that were asked before; with numbers if `return_actor_ids`."""
        self.foreach_env_runner_async(func, tag, kwargs=kwargs, remote_worker_ids=remote_worker_ids)
        found = self.fetch_ready_async_reqs(
            tags=[tag] if tag else (), timeout_seconds=timeout_seconds, return_obj_refs=return_obj_refs
        )
        return list(found) if return_actor_ids else [answer for _, answer in found]

    def sync_weights(
        self,
        policies: Sequence[str] | None = None,
        from_worker_or_learner_group: Any = None,
        to_worker_indices: Sequence[int] | None = None,
        timeout_seconds: float | None = 0.0,
        inference_only: bool = True,
        **kwargs: Any,
    ) -> None:
        """Hand weights of a learner group, or of a runner, to the runners; once into the object store for all.

        `policies` are the modules whose weights are handed (None: all).
        """
        weights = from_worker_or_learner_group.get_weights(
            **({"module_ids": policies} if policies is not None else {})
        )
        self.hand_out({COMPONENT_RL_MODULE: weights}, to_worker_indices)

    def sync_env_runner_states(
        self,
        *,
        config: Any = None,
        from_worker: EnvRunner | None = None,
        env_steps_sampled: int | None = None,
        connector_states: Sequence[Any] | None = None,
        rl_module_state: dict[str, Any] | None = None,
        env_runner_indices_to_update: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        """Put the connectors' states of all runners together, and hand them out with weights.

        `connector_states` are what runners' `get_state` gave (None: they are asked), `rl_module_state` the weights.
        """
        states = connector_states
        if states is None:
            states = self.foreach_env_runner("get_state", kwargs={"not_components": COMPONENT_RL_MODULE})
        state: dict[str, Any] = {}
        pipelines = [each[COMPONENT_ENV_TO_MODULE_CONNECTOR] for each in states if each]
        if pipelines and self._pipeline() is not None:
            state[COMPONENT_ENV_TO_MODULE_CONNECTOR] = self._pipeline().merged(pipelines)
        if rl_module_state is not None:
            state[COMPONENT_RL_MODULE] = rl_module_state.get(COMPONENT_RL_MODULE, rl_module_state)
        if state:
            self.hand_out(state, env_runner_indices_to_update)

    def hand_out(self, state: dict[str, Any], to: Sequence[int] | None = None) -> None:
        """Let runners take a state."""
        if self._here is not None:
            self._here.set_state(state)
        if self._actors:
            self._state = shoal.put(state)
            for number, actor in self._actors.items():
                if to is None or number in to:
                    actor.set_state.remote(self._state)

    def get_spaces(self) -> dict[str, tuple[Any, Any]]:
        """Return the spaces of a runner."""
        if self._here is not None:
            return self._here.get_spaces()
        told: dict[str, tuple[Any, Any]] = self.foreach_env_runner(
            "get_spaces", remote_worker_ids=[next(iter(self._actors))]
        )[0]
        return told

    def add_workers(self, num_workers: int, validate: bool = False) -> None:
        """Add runners that are actors; with `validate` wait until they play."""
        begin = max(self._actors, default=0) + 1
        for number in range(begin, begin + num_workers):
            self._actors[number] = self._new(number)
        self._count += num_workers
        if validate:
            self.foreach_env_runner("assert_healthy", local_env_runner=False)

    def reset(self, new_remote_workers: Sequence[Any]) -> None:
        """Put other actors in the places of the runners."""
        self.stop()
        self._actors = dict(enumerate(new_remote_workers, start=1))
        self._count = len(self._actors)

    def probe_unhealthy_env_runners(self, timeout_seconds: float | None = None) -> list[int]:
        """Ask all runners whether they are there, replace those that are not; return their numbers."""
        limit = timeout_seconds if timeout_seconds is not None else self._timeout
        dead = []
        for number, actor in list(self._actors.items()):
            try:
                shoal.get(actor.ping.remote(), timeout=limit)
            except ShoalError as error:
                dead.append(number)
                self._replace(number, error)
        return dead

    def num_remote_env_runners(self) -> int:
        """Return how many runners are actors."""
        return len(self._actors)

    def num_remote_workers(self) -> int:
        """Return how many runners are actors."""
        return len(self._actors)

    def num_healthy_env_runners(self) -> int:
        """Return how many runners there are; dead ones are replaced at once."""
        return len(self._actors) + (self._here is not None)

    def num_healthy_workers(self) -> int:
        """Return how many runners there are."""
        return self.num_healthy_env_runners()

    def num_healthy_remote_env_runners(self) -> int:
        """Return how many runners are actors."""
        return len(self._actors)

    def num_healthy_remote_workers(self) -> int:
        """Return how many runners are actors."""
        return len(self._actors)

    def healthy_env_runner_ids(self) -> list[int]:
        """Return the numbers of the runners that are actors."""
        return list(self._actors)

    def healthy_worker_ids(self) -> list[int]:
        """Return the numbers of the runners that are actors."""
        return list(self._actors)

    def num_in_flight_async_reqs(self, tag: str | None = None) -> int:
        """Return how many questions wait for an answer."""
        return sum(1 for _, each in self._waiting.values() if tag is None or each == tag)

    def num_remote_worker_restarts(self) -> int:
        """Return how many runners were replaced."""
        return self._restarts

    def stop(self) -> None:
        """End the runners."""
        if self._here is not None:
            self._here.stop()
        if shoal.is_initialized():
            for actor in self._actors.values():
                shoal.kill(actor)
        self._actors, self._waiting = {}, {}

    def _pipeline(self) -> Any:
        if self._here is not None:
            return self._here._env_to_module  # type: ignore[attr-defined]
        return self._config.build_env_to_module_connector(env=None, spaces=None)

    def _ask(self, number: int, func: Any, kwargs: dict[str, Any]) -> Any:
        actor = self._actors[number]
        if isinstance(func, str):
            return getattr(actor, func).remote(**kwargs)
        return actor.apply.remote(func, **kwargs)

    def _new(self, number: int) -> Any:
        ready = {"preload": [self._kind.__module__]} if self._kind.__module__.startswith("shoal.") else None
        kind = shoal.remote(num_cpus=self._cpus, runtime_env=ready)(self._kind)
        actor = kind.remote(config=self._config, worker_index=number, num_workers=self._count)
        if self._state is not None:
            actor.set_state.remote(self._state)
        return actor

    def _replace(self, number: int, why: Exception) -> None:
        logger.warning("env runner %d is replaced: %s", number, str(why).splitlines()[0])
        shoal.kill(self._actors[number])
        self._waiting = {ref: each for ref, each in self._waiting.items() if each[0] != number}
        self._actors[number] = self._new(number)
        self._restarts += 1


def _called(runner: EnvRunner, func: Any, kwargs: dict[str, Any]) -> Any:
    return getattr(runner, func)(**kwargs) if isinstance(func, str) else func(runner, **kwargs)


def synchronous_parallel_sample(
    *,
    worker_set: EnvRunnerGroup,
    max_agent_steps: int | None = None,
    max_env_steps: int | None = None,
    concat: bool = True,
    sample_timeout_s: float | None = None,
    random_actions: bool = False,
    _uses_new_env_runners: bool = True,
    _return_metrics: bool = False,
) -> Any:
    """Let all runners play at once, again and again until there are enough steps; return their episodes.

    Parameters: `max_env_steps` (or `max_agent_steps`) is how many are enough; None: one round. With `concat` the
    episodes are in one list, else in one a runner. With `_return_metrics` numbers that can be aggregated are returned
    beside them.

    Raises what environments raise, and GetTimeout if no runner answers in time.

    Example: `episodes = synchronous_parallel_sample(worker_set=group, max_env_steps=4000)`
    """
    enough = max_env_steps if max_env_steps is not None else max_agent_steps
    runners = max(1, worker_set.num_healthy_env_runners())
    more: dict[str, Any] = {"random_actions": True} if random_actions else {}
    found: list[list[Any]] = []
    told: list[dict[str, Any]] = []
    steps = 0
    while True:
        if enough is not None:
            more["num_timesteps"] = math.ceil((enough - steps) / runners)
        answers = worker_set.foreach_env_runner(_played, kwargs=more, timeout_seconds=sample_timeout_s)
        if not answers:
            raise GetTimeout("no env runner answered: all died, or took longer than sample_timeout_s")
        for episodes, numbers in answers:
            found.append(episodes)
            told.append(numbers)
            steps += sum(len(each) for each in episodes)
        if enough is None or steps >= enough:
            break
    made = [episode for each in found for episode in each] if concat else found
    return (made, told) if _return_metrics else made


def _played(runner: Any, **kwargs: Any) -> tuple[Any, Any]:
    return runner.sample(**kwargs), runner.get_metrics()
