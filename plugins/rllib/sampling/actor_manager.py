"""Calls of many actors at once, some of which may die."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

import shoal
from shoal.errors import ActorDied, ConfigError, GetTimeout, ShoalError


class FaultAwareApply:
    """Methods that a FaultTolerantActorManager wants of actors: inherit from it.

    Example: `class Player(FaultAwareApply): ...`
    """

    def ping(self) -> str:
        """Return at once."""
        return "pong"

    def apply(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what a function of this actor gives."""
        return func(self, *args, **kwargs)


@attrs.frozen
class ResultOrError:
    """What a call gave, or the error that it ended with."""

    result: Any = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether there was no error."""
        return self.error is None

    def get(self) -> Any:
        """Return what it gave, or the error."""
        return self.result if self.error is None else self.error


@attrs.frozen
class CallResult:
    """What the call of one actor came to; `tag` is what it was asked under."""

    actor_id: int
    result_or_error: ResultOrError
    tag: str | None = None

    @property
    def ok(self) -> bool:
        """Whether there was no error."""
        return self.result_or_error.ok

    def get(self) -> Any:
        """Return what it gave, or the error."""
        return self.result_or_error.get()


class RemoteCallResults:
    """What calls of several actors came to, in the order in which they were asked.

    Example: `[each.get() for each in results.ignore_errors()]`
    """

    def __init__(self) -> None:
        self.result_or_errors: list[CallResult] = []

    def add_result(self, actor_id: int, result_or_error: ResultOrError, tag: str | None = None) -> None:
        """Add what a call came to."""
        self.result_or_errors.append(CallResult(actor_id, result_or_error, tag))

    def __iter__(self) -> Iterator[CallResult]:
        return iter(list(self.result_or_errors))

    def __len__(self) -> int:
        return len(self.result_or_errors)

    def ignore_errors(self) -> Iterator[CallResult]:
        """Yield those without an error."""
        return iter([each for each in self.result_or_errors if each.ok])

    def ignore_ray_errors(self) -> Iterator[CallResult]:
        """Yield those whose error is not the death of the actor, or its silence."""
        return iter(
            [
                each
                for each in self.result_or_errors
                if not isinstance(each.result_or_error.error, (ActorDied, GetTimeout))
            ]
        )


class FaultTolerantActorManager:
    """Calls actors, and leaves those out that died or are silent until they answer again.

    Parameters: `actors` are handles of actors that inherit from FaultAwareApply; at most
    `max_remote_requests_in_flight_per_actor` calls wait at each; the first one has the number `init_id`.

    Example: `FaultTolerantActorManager(actors).foreach_actor(lambda player: player.play())`
    """

    def __init__(
        self,
        actors: Sequence[Any] | None = None,
        max_remote_requests_in_flight_per_actor: int = 2,
        init_id: int = 0,
    ) -> None:
        if max_remote_requests_in_flight_per_actor < 1:
            raise ConfigError("max_remote_requests_in_flight_per_actor must be at least 1")
        self._most = max_remote_requests_in_flight_per_actor
        self._next = init_id
        self._actors: dict[int, Any] = {}
        self._healthy: dict[int, bool] = {}
        self._waiting: dict[Any, tuple[int, str | None]] = {}
        self._returned = 0
        self.add_actors(list(actors or ()))

    def actor_ids(self) -> list[int]:
        """Return the numbers of all actors."""
        return list(self._actors)

    def healthy_actor_ids(self) -> list[int]:
        """Return the numbers of those that answer."""
        return [number for number, fine in self._healthy.items() if fine]

    def actors(self) -> dict[int, Any]:
        """Return the handles by number."""
        return self._actors

    def add_actors(self, actors: Sequence[Any]) -> list[int]:
        """Add actors; return their numbers."""
        numbers = list(range(self._next, self._next + len(actors)))
        self._next += len(actors)
        self._actors.update(zip(numbers, actors, strict=True))
        self._healthy.update(dict.fromkeys(numbers, True))
        return numbers

    def remove_actor(self, actor_id: int) -> Any:
        """Take an actor away; return its handle, which is left alone."""
        self._forget(actor_id)
        self._healthy.pop(actor_id, None)
        return self._actors.pop(actor_id)

    def num_actors(self) -> int:
        """Return how many there are."""
        return len(self._actors)

    def num_healthy_actors(self) -> int:
        """Return how many answer."""
        return sum(self._healthy.values())

    def total_num_restarts(self) -> int:
        """Return how often an actor that was left out answered again."""
        return self._returned

    def num_outstanding_async_reqs(self, tag: str | None = None) -> int:
        """Return how many calls wait."""
        return sum(1 for _, each in self._waiting.values() if tag is None or each == tag)

    def is_actor_healthy(self, actor_id: int) -> bool:
        """Return whether an actor answers. Raises KeyError for an unknown number."""
        return self._healthy[actor_id]

    def set_actor_state(self, actor_id: int, healthy: bool) -> None:
        """Say whether an actor answers; the calls that wait at one that does not are forgotten."""
        if healthy and not self._healthy[actor_id]:
            self._returned += 1
        self._healthy[actor_id] = healthy
        if not healthy:
            self._forget(actor_id)

    def foreach_actor(
        self,
        func: Any,
        *,
        kwargs: Any = None,
        healthy_only: bool = True,
        remote_actor_ids: Sequence[int] | None = None,
        timeout_seconds: float | None = None,
        return_obj_refs: bool = False,
        mark_healthy: bool = False,
    ) -> RemoteCallResults:
        """Call a function of each actor, or a method by its name; several are one for each. Wait for the answers.

        `timeout_seconds` (None: 10 minutes) is how long; an actor that is silent then is left out from now on.
        """
        asked = [
            (number, self._ask(number, each, more))
            for number, each, more in self._calls(func, kwargs, healthy_only, remote_actor_ids)
        ]
        told = RemoteCallResults()
        if return_obj_refs:
            for number, ref in asked:
                told.add_result(number, ResultOrError(result=ref))
            return told
        limit = 600.0 if timeout_seconds is None else timeout_seconds
        if asked:
            shoal.wait([ref for _, ref in asked], num_returns=len(asked), timeout=limit)
        for number, ref in asked:
            told.add_result(number, self._answer(number, ref, mark_healthy))
        return told

    def foreach_actor_async(
        self,
        func: Any,
        tag: str | None = None,
        *,
        kwargs: Any = None,
        healthy_only: bool = True,
        remote_actor_ids: Sequence[int] | None = None,
    ) -> int:
        """Call without waiting; return how many were called: none at which as many calls wait as may."""
        waiting: dict[int, int] = defaultdict(int)
        for number, _ in self._waiting.values():
            waiting[number] += 1
        called = 0
        for number, each, more in self._calls(func, kwargs, healthy_only, remote_actor_ids):
            if waiting[number] < self._most:
                self._waiting[self._ask(number, each, more)] = (number, tag)
                waiting[number] += 1
                called += 1
        return called

    def fetch_ready_async_reqs(
        self,
        *,
        tags: str | Sequence[str] = (),
        timeout_seconds: float | None = 0.0,
        return_obj_refs: bool = False,
        mark_healthy: bool = False,
    ) -> RemoteCallResults:
        """Return what calls came to that are through, waiting so long at most; only those with `tags` if given."""
        wanted = {tags} if isinstance(tags, str) else set(tags)
        listed = [ref for ref, (_, tag) in self._waiting.items() if not wanted or tag in wanted]
        told = RemoteCallResults()
        if not listed:
            return told
        ready, _ = shoal.wait(listed, num_returns=len(listed), timeout=timeout_seconds)
        for ref in ready:
            if ref not in self._waiting:  # an answer before said that the actor is dead
                continue
            number, tag = self._waiting.pop(ref)
            answer = ResultOrError(result=ref) if return_obj_refs else self._answer(number, ref, mark_healthy)
            told.add_result(number, answer, tag)
        return told

    def foreach_actor_async_fetch_ready(
        self,
        func: Any,
        tag: str | None = None,
        *,
        kwargs: Any = None,
        timeout_seconds: float | None = 0.0,
        return_obj_refs: bool = False,
        mark_healthy: bool = False,
        healthy_only: bool = True,
        remote_actor_ids: Sequence[int] | None = None,
        ignore_ray_errors: bool = True,
        return_actor_ids: bool = False,
    ) -> list[Any]:
        """Call without waiting, and return what calls before came to; with numbers if `return_actor_ids`.

        Raises what a call raised, but for the death of an actor unless `ignore_ray_errors` is False.
        """
        self.foreach_actor_async(
            func, tag, kwargs=kwargs, healthy_only=healthy_only, remote_actor_ids=remote_actor_ids
        )
        told = self.fetch_ready_async_reqs(
            tags=() if tag is None else tag,
            timeout_seconds=timeout_seconds,
            return_obj_refs=return_obj_refs,
            mark_healthy=mark_healthy,
        )
        self.handle_remote_call_result_errors(told, ignore_ray_errors=ignore_ray_errors)
        return [
            (each.actor_id, each.get()) if return_actor_ids else each.get() for each in told.ignore_errors()
        ]

    @staticmethod
    def handle_remote_call_result_errors(
        results_or_errors: RemoteCallResults, *, ignore_ray_errors: bool
    ) -> None:
        """Raise the first error, but for the death or silence of an actor if that is ignored."""
        for each in results_or_errors:
            error = each.result_or_error.error
            if error is not None and not (ignore_ray_errors and isinstance(error, (ActorDied, GetTimeout))):
                raise error

    def probe_unhealthy_actors(
        self, timeout_seconds: float | None = None, mark_healthy: bool = False
    ) -> list[int]:
        """Ask those that were left out whether they are there again; return the numbers of those that are."""
        left_out = [number for number, fine in self._healthy.items() if not fine]
        told = self.foreach_actor(
            "ping",
            healthy_only=False,
            remote_actor_ids=left_out,
            timeout_seconds=timeout_seconds,
            mark_healthy=mark_healthy,
        )
        return [each.actor_id for each in told if each.ok]

    def clear(self) -> None:
        """Forget all actors, which are killed."""
        for actor in self._actors.values():
            shoal.kill(actor)
        self._actors, self._healthy, self._waiting = {}, {}, {}

    def _calls(
        self, func: Any, kwargs: Any, healthy_only: bool, ids: Sequence[int] | None
    ) -> list[tuple[int, Any, Mapping[str, Any]]]:
        numbers = list(self._actors) if ids is None else list(ids)
        listed = isinstance(func, (list, tuple))
        if listed and len(func) != len(numbers):
            raise ConfigError(f"{len(func)} functions for {len(numbers)} actors")
        calls = []
        for place, number in enumerate(numbers):
            if healthy_only and not self._healthy[number]:
                continue
            more = kwargs[place] if isinstance(kwargs, (list, tuple)) else kwargs or {}
            calls.append((number, func[place] if listed else func, more))
        return calls

    def _ask(self, number: int, func: Any, kwargs: Mapping[str, Any]) -> Any:
        actor = self._actors[number]
        if isinstance(func, str):
            return getattr(actor, func).remote(**kwargs)
        return actor.apply.remote(func, **kwargs)

    def _answer(self, number: int, ref: Any, mark_healthy: bool) -> ResultOrError:
        try:
            value = shoal.get(ref, timeout=0.0)
        except (ActorDied, GetTimeout) as error:
            self.set_actor_state(number, healthy=False)
            return ResultOrError(error=error)
        except ShoalError as error:
            return ResultOrError(error=error)
        if mark_healthy:
            self.set_actor_state(number, healthy=True)
        return ResultOrError(result=value)

    def _forget(self, number: int) -> None:
        self._waiting = {ref: each for ref, each in self._waiting.items() if each[0] != number}
