"""Handles: how Python code calls a deployment, from a program, a task, an actor or another deployment."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import uuid
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from typing import Any

import attrs

import shoal
from shoal.errors import ActorDied, ActorError, ConfigError, GetTimeout, TaskCancelled, describe
from shoal.interfaces.current import current
from shoal.serve.callers import callers
from shoal.serve.context import ReplicaID, request_context
from shoal.serve.dispatch import RESERVE, Call, Dispatcher
from shoal.serve.exceptions import ReplicaUnavailableError, RequestCancelledError, ServeError
from shoal.serve.messages import key_of
from shoal.serve.routers.base import Asked

_KNOWN_SECONDS = 30.0


@attrs.frozen(kw_only=True)
class HandleOptions:
    """How a handle calls."""

    method_name: str = "__call__"
    multiplexed_model_id: str = ""
    session_id: str = ""
    stream: bool = False


class ReplicaSelection:
    """A replica that `choose_replica` has chosen, with room held there for one request until `dispatch`, or the end."""

    def __init__(self, held: Call) -> None:
        self._held = held
        self._used = False

    @property
    def _slot(self) -> Any:
        slot = self._held.candidate
        assert slot is not None, "it has been chosen"
        return slot

    @property
    def replica_id(self) -> ReplicaID:
        """The replica's name."""
        return ReplicaID.from_full_id_str(self._slot.replica_id)

    @property
    def node_id(self) -> str:
        """The node that it is on."""
        return str(self._slot.node_id)

    @property
    def replica_metadata(self) -> Mapping[str, Any]:
        """What its `record_routing_stats()` said last."""
        return self._slot.stats  # type: ignore[no-any-return]


class _Response:
    """What both kinds of response share."""

    def __init__(self, dispatcher: Dispatcher, call: Call) -> None:
        self._dispatcher = dispatcher
        self._call = call
        self._cancelled = False

    @property
    def request_id(self) -> str:
        """The request's name, also in logs of replicas."""
        return str(self._call.meta[1])

    def cancel(self) -> None:
        """Cancel the request: it never begins, or CancelledError is raised in the replica's async method.

        A method that runs in a thread runs on, and its result is dropped. After the end nothing happens.
        """
        if self._cancelled or self._call.over:
            return
        self._cancelled = True
        if not self._dispatcher.cancel(self._call) and self._call.ref is not None:
            shoal.cancel(self._call.ref)

    def cancelled(self) -> bool:
        """Tell whether `cancel` was called before the end."""
        return self._cancelled

    def _ref_now(self, timeout_s: float | None) -> Any:
        call = self._call
        if call.ref is None:
            assert call.waiter is not None, "a call was sent, or waits"
            try:
                call.waiter.result(timeout_s)
            except concurrent.futures.CancelledError:
                raise RequestCancelledError(self.request_id) from None
            except (TimeoutError, concurrent.futures.TimeoutError):
                raise GetTimeout(
                    f"request {self.request_id} to {self._dispatcher.key} still waits for a replica with room "
                    f"after {timeout_s:g} s"
                ) from None
        return call.ref

    async def _ref_soon(self) -> Any:
        call = self._call
        if call.ref is None:
            assert call.waiter is not None, "a call was sent, or waits"
            try:
                await asyncio.wrap_future(call.waiter)
            except asyncio.CancelledError:
                self.cancel()
                raise
        return call.ref

    def _failure(self, error: BaseException) -> BaseException:
        if isinstance(error, TaskCancelled) and self._cancelled:
            return RequestCancelledError(self.request_id)
        if isinstance(error, ActorError):
            slot = self._call.candidate
            if isinstance(error, ActorDied):
                self._dispatcher.lost(self._call)
            return ReplicaUnavailableError(slot.replica_id if slot else self._dispatcher.key, str(error))
        return error


class DeploymentResponse(_Response):
    """The result of a call that goes on: `await` it in async code, call `.result()` elsewhere.

    Given to another handle's `remote` as an argument it arrives there as its value, which does not pass through here.
    """

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the result and return it.

        Raises what the method raised, GetTimeout after `timeout_s` seconds, RequestCancelledError,
        ReplicaUnavailableError if the replica died, and ServeError in an event loop, which it would stop:
        `await` there.
        """
        _refuse_in_loop("result()", "await the response")
        ref = self._ref_now(timeout_s)
        try:
            value = shoal.get(ref, timeout=timeout_s)
        except GetTimeout:
            raise
        except BaseException as error:
            raise self._over(error) from (error.__cause__ or None)
        self._dispatcher.finished(self._call)
        return value

    def _over(self, error: BaseException) -> BaseException:
        failure = self._failure(error)
        self._dispatcher.finished(self._call)
        return failure

    async def _wait(self) -> Any:
        ref = await self._ref_soon()
        try:
            value = await ref
        except asyncio.CancelledError:
            self.cancel()
            raise
        except BaseException as error:
            raise self._over(error) from (error.__cause__ or None)
        self._dispatcher.finished(self._call)
        return value

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()

    def _to_object_ref_sync(self, timeout_s: float | None = None) -> Any:
        """Return the reference to the result, waiting until a replica has the request."""
        return self._ref_now(timeout_s)

    async def _to_object_ref(self) -> Any:
        """Return the reference to the result, as soon as a replica has the request."""
        return await self._ref_soon()

    @property
    def by_reference(self) -> bool:
        """Whether results are objects of the session, which others can refer to: they always are."""
        return True

    def __reduce__(self) -> Any:
        raise TypeError(
            "a DeploymentResponse belongs to the process that called: give it to a handle's remote() as an argument "
            "of its own, or await it first"
        )

    def __repr__(self) -> str:
        return f"DeploymentResponse({self._dispatcher.key}, {self.request_id})"


class DeploymentResponseGenerator(_Response, Iterator[Any], AsyncIterator[Any]):
    """What a generator of a deployment yields, as it comes: iterate with `for` or `async for`."""

    def __iter__(self) -> DeploymentResponseGenerator:
        return self

    def __next__(self) -> Any:
        _refuse_in_loop("for", "use `async for`")
        stream = self._ref_now(None)
        try:
            return shoal.get(next(stream))
        except StopIteration:
            self._dispatcher.finished(self._call)
            raise
        except BaseException as error:
            failure = self._failure(error)
            self._dispatcher.finished(self._call)
            raise failure from (error.__cause__ or None)

    def __aiter__(self) -> DeploymentResponseGenerator:
        return self

    async def __anext__(self) -> Any:
        stream = await self._ref_soon()
        try:
            return await (await anext(stream))
        except StopAsyncIteration:
            self._dispatcher.finished(self._call)
            raise
        except asyncio.CancelledError:
            self.cancel()
            raise
        except BaseException as error:
            failure = self._failure(error)
            self._dispatcher.finished(self._call)
            raise failure from (error.__cause__ or None)

    def __await__(self) -> Any:
        raise TypeError("a stream cannot be awaited: use `async for`, or a handle without stream=True")

    def result(self, timeout_s: float | None = None) -> Any:
        """Raise TypeError: a stream has no one result."""
        raise TypeError("a stream has no result(): iterate over it, or use a handle without stream=True")

    @property
    def by_reference(self) -> bool:
        """Whether what it yields are objects of the session: they always are."""
        return True

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be ending
            if not self._call.over:
                self.cancel()

    def __repr__(self) -> str:
        return f"DeploymentResponseGenerator({self._dispatcher.key}, {self.request_id})"


class DeploymentBroadcastResponse:
    """The results of a call of all replicas."""

    def __init__(self, refs: Mapping[str, Any]) -> None:
        self._refs = refs

    def results(self, timeout_s: float | None = None, return_exceptions: bool = False) -> dict[str, Any]:
        """Wait for all and return the results by replica; with `return_exceptions` also what was raised.

        Raises what the first of them raised, and GetTimeout.
        """
        _refuse_in_loop("results()", "await results_async()")
        found: dict[str, Any] = {}
        for replica, ref in self._refs.items():
            try:
                found[replica] = shoal.get(ref, timeout=timeout_s)
            except Exception as error:  # of the user's method
                if not return_exceptions:
                    raise
                found[replica] = error
        return found

    async def results_async(
        self, timeout_s: float | None = None, return_exceptions: bool = False
    ) -> dict[str, Any]:
        """Do as `results` in async code."""

        async def wait(ref: Any) -> Any:
            return await ref

        waits = asyncio.gather(*map(wait, self._refs.values()), return_exceptions=return_exceptions)
        try:
            values = await asyncio.wait_for(waits, timeout_s)
        except asyncio.TimeoutError:
            raise GetTimeout(f"not all replicas answered within {timeout_s:g} s") from None
        return dict(zip(self._refs, values, strict=True))


class DeploymentHandle:
    """Calls a deployment: `handle.remote(...)` its `__call__`, `handle.method.remote(...)` another method.

    Can be sent anywhere in the session. Requests go to replicas with room, as the deployment's router says;
    what finds none waits here, up to `max_queued_requests`.
    """

    def __init__(
        self, deployment_name: str, app_name: str = "default", _options: HandleOptions | None = None
    ) -> None:
        self._name = deployment_name
        self._app = app_name
        self._options = _options or HandleOptions()
        self._dispatcher: Dispatcher | None = None
        self._closed: list[bool] = []  # shared with the handles made of this one
        self._asked = Asked(
            self._options.method_name, (), None, self._options.multiplexed_model_id, self._options.session_id
        )

    @property
    def deployment_name(self) -> str:
        """The deployment's name."""
        return self._name

    @property
    def app_name(self) -> str:
        """Its application's name."""
        return self._app

    @property
    def deployment_id(self) -> str:
        """Application and deployment in one text."""
        return key_of(self._app, self._name)

    @property
    def is_initialized(self) -> bool:
        """Whether the handle has begun to learn of replicas: its first call does that."""
        return self._dispatcher is not None

    def running_replicas_populated(self) -> bool:
        """Tell whether replicas are known here."""
        return self._dispatcher is not None and bool(self._dispatcher.replicas)

    def options(
        self,
        *,
        method_name: str | None = None,
        multiplexed_model_id: str | None = None,
        session_id: str | None = None,
        stream: bool | None = None,
        request_serialization: str | None = None,
        response_serialization: str | None = None,
    ) -> DeploymentHandle:
        """Return the same handle with other options: the method, the model, the session, whether results are a
        stream. Arguments and results travel as `"cloudpickle"` makes them, the one serialization that may be named.

        Raises ConfigError for values of the wrong kind.

        Example: `async for token in handle.options(stream=True).generate.remote(prompt)`
        """
        for name, given in (
            ("request_serialization", request_serialization),
            ("response_serialization", response_serialization),
        ):
            if given not in (None, "cloudpickle"):
                raise ConfigError(f"{name} must be 'cloudpickle', not {describe(given)}: there is no other")
        changes: dict[str, Any] = {}
        for name, value, kind in (
            ("method_name", method_name, str),
            ("multiplexed_model_id", multiplexed_model_id, str),
            ("session_id", session_id, str),
            ("stream", stream, bool),
        ):
            if value is None:
                continue
            if not isinstance(value, kind):
                raise ConfigError(
                    f"{name} must be {'True or False' if kind is bool else 'text'}, not {describe(value)}"
                )
            changes[name] = value
        return self._with(**changes)

    def _with(self, **changes: Any) -> DeploymentHandle:
        made = DeploymentHandle(self._name, self._app, attrs.evolve(self._options, **changes))
        made._dispatcher, made._closed = self._dispatcher, self._closed
        return made

    def __getattr__(self, name: str) -> DeploymentHandle:
        if name.startswith("_"):
            raise AttributeError(name)
        made = self._with(method_name=name)
        self.__dict__[name] = made
        return made

    def _known_dispatcher(self) -> Dispatcher:
        if self._closed:
            raise ServeError(f"this handle of {self.deployment_id} was shut down: get another")
        dispatcher = self._dispatcher
        if dispatcher is None or dispatcher.engine is not current.engine:
            dispatcher = self._dispatcher = callers().dispatcher(self.deployment_id)
        return dispatcher

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method and return a `DeploymentResponse` at once; with `stream=True` a
        `DeploymentResponseGenerator`.

        A response among the arguments arrives as its value, which goes there directly.
        Raises BackPressureError, DeploymentUnavailableError, NotSerializable.
        """
        dispatcher = self._known_dispatcher()
        streams = self._options.stream
        call = self._call("stream" if streams else "call", args, kwargs, streams)
        if not _passes_on(call, dispatcher):
            dispatcher.start(call)
        return (DeploymentResponseGenerator if streams else DeploymentResponse)(dispatcher, call)

    def _call(self, kind: str, args: Any, kwargs: Any, streams: bool = False) -> Call:
        options, now = self._options, request_context.get()
        meta = (
            options.method_name,
            now.request_id or uuid.uuid4().hex,
            now.route,
            options.multiplexed_model_id,
            now.trace,
        )
        asked = Asked(options.method_name, args, kwargs, options.multiplexed_model_id, options.session_id)
        return Call(kind, meta, args, kwargs, asked, streams)

    @contextlib.asynccontextmanager
    async def choose_replica(self, *args: Any, **kwargs: Any) -> AsyncIterator[ReplicaSelection]:
        """Have the router choose a replica for these arguments, and hold room there for one request.

        Nothing is sent: `dispatch` does that, with other arguments if one likes, such as what the replica has said of
        itself (`replica_metadata`). Raises as `remote` does.

        Example:
            async with handle.choose_replica(prompt) as chosen:
                answer = await handle.dispatch(chosen, prompt, peer=chosen.replica_metadata["peer"])
        """
        dispatcher = self._known_dispatcher()
        held = self._call(RESERVE, args, kwargs)
        held.waiter = concurrent.futures.Future()
        dispatcher.start(held)
        try:
            await asyncio.wrap_future(held.waiter)
        except asyncio.CancelledError:
            if not dispatcher.cancel(held):
                dispatcher.finished(held)
            raise
        selection = ReplicaSelection(held)
        try:
            yield selection
        finally:
            selection._used = True
            dispatcher.finished(held)

    def dispatch(self, selection: ReplicaSelection, *args: Any, **kwargs: Any) -> Any:
        """Call the method at the replica that was chosen, once, and return what `remote` does.

        Raises ServeError for a selection that was used, or whose `async with` has ended.
        """
        if selection._used:
            raise ServeError("a selection is for one request, inside of its `async with`: choose again")
        selection._used = True
        dispatcher = self._known_dispatcher()
        streams = self._options.stream
        call = self._call("stream" if streams else "call", args, kwargs, streams)
        if any(isinstance(each, _Response) for each in (*args, *kwargs.values())):
            raise TypeError("a response cannot be an argument of dispatch: await it first")
        dispatcher.dispatch(selection._held, call)
        return (DeploymentResponseGenerator if streams else DeploymentResponse)(dispatcher, call)

    def shutdown(self) -> None:
        """Call nothing any more by this handle, and those made of it; what was asked goes on."""
        self._closed.append(True)

    async def shutdown_async(self) -> None:
        """Do as `shutdown`."""
        self.shutdown()

    def broadcast(self, method_name: str, *args: Any, **kwargs: Any) -> DeploymentBroadcastResponse:
        """Call a method of every replica that is known now, whatever it has to do, and return all their results.

        Raises GetTimeout if nobody tells of the replicas within 30 seconds.

        Example: `handle.broadcast("forget_cache").results()`
        """
        dispatcher = self._known_dispatcher()
        if not dispatcher.is_known.wait(_KNOWN_SECONDS):
            raise GetTimeout(f"nobody told of the replicas of {dispatcher.key} within {_KNOWN_SECONDS:g} s")
        meta = (method_name, uuid.uuid4().hex, "", self._options.multiplexed_model_id, "")
        return DeploymentBroadcastResponse(
            {each.replica_id: each.actor.call.remote(meta, *args, **kwargs) for each in dispatcher.replicas}
        )

    def __reduce__(self) -> Any:
        return DeploymentHandle, (self._name, self._app, self._options)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, DeploymentHandle)
            and self.deployment_id == other.deployment_id
            and self._options == other._options
        )

    def __hash__(self) -> int:
        return hash((self.deployment_id, self._options))

    def __repr__(self) -> str:
        return f"DeploymentHandle({self._name!r}, app_name={self._app!r})"


def _passes_on(call: Call, dispatcher: Dispatcher) -> bool:
    """Put references in the place of responses. True: some have none yet, and the call starts when they have."""
    given = [each for each in (*call.args, *call.kwargs.values()) if isinstance(each, _Response)]
    if not given:
        return False
    for each in given:
        if isinstance(each, DeploymentResponseGenerator):
            raise TypeError("a stream cannot be an argument: iterate over it and pass what it yields")

    def as_refs() -> None:
        call.args = tuple(each._call.ref if isinstance(each, _Response) else each for each in call.args)
        call.kwargs = {
            name: each._call.ref if isinstance(each, _Response) else each
            for name, each in call.kwargs.items()
        }

    before = [each._call.waiter for each in given if each._call.ref is None and each._call.waiter is not None]
    if not before:
        as_refs()
        return False
    dispatcher.start_when(call, before, as_refs)
    return True


def _refuse_in_loop(what: str, instead: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ServeError(f"{what} would stop the event loop: {instead}")
