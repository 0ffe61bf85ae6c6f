"""What runs in Ray's workers: it makes the public API work there, and calls the user's code."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import attrs

from shoal.errors import ActorExit
from shoal.interfaces.current import current
from shoal.onray.failures import failure
from shoal.onray.parcels import Wrapped, arguments, wrap_value
from shoal.onray.real import load_ray, part
from shoal.registry.drivers import load_driver
from shoal.registry.groups import ENGINES
from shoal.serial import load_function
from shoal.spec.calls import ActorInfo

_PASS = (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)


@attrs.frozen(kw_only=True)
class Work:
    """What a worker must know of a call besides its arguments. Travels with Ray's own copy of the function."""

    name: str
    function_name: str
    settings: bytes  # of the session: see RayEngine.in_worker
    function: bytes = b""  # dumped; empty for a method
    retry: bytes = b""  # the dumped classes to retry on; empty: none
    num_returns: Any = 1
    method: str = ""
    runtime_env: bytes = b""


@attrs.frozen(kw_only=True)
class Here:
    """What runs here and now."""

    name: str = ""
    function_name: str = ""
    namespace: str = ""
    runtime_env: bytes = b""
    info: ActorInfo | None = None


here: contextvars.ContextVar[Here] = contextvars.ContextVar("shoal_ray_here", default=Here())  # noqa: B039
_lock = threading.Lock()


def enter(settings: bytes) -> Any:
    """Return this process's engine; the first call makes it, and with it the public API works here."""
    engine = current.engine
    if engine is None:
        with _lock:
            engine = current.engine
            if engine is None:
                # By its name: that module stands above this one.
                driver: Any = load_driver(ENGINES, "ray")
                engine = current.engine = driver.in_worker(settings)
    return engine


@functools.lru_cache(maxsize=256)
def _load(dumped: bytes) -> Any:
    return load_function(dumped)


def _function_of(engine: Any, work: Work, captured: Any) -> Callable[..., Any]:
    """`captured` are the references inside the function; they come with each call, so that Ray counts them."""
    if not captured:
        return _load(work.function)  # type: ignore[no-any-return]
    refs = [engine.reference(identifier, thing) for identifier, thing in captured]
    return load_function(work.function, refs)  # type: ignore[no-any-return]


def _retry_of(work: Work) -> Any:
    return _load(work.retry) if work.retry else False


def task_body(work: Work) -> Callable[..., Any]:
    """Return the function that Ray runs for a task. It is pickled by value, with nothing but `work` inside."""
    if work.num_returns in ("streaming", "dynamic"):

        def stream(parcel: Wrapped, captured: Any, *values: Any) -> Iterator[Any]:
            yield from run_stream(work, parcel, captured, values)

        return stream

    def run(parcel: Wrapped, captured: Any, *values: Any) -> Any:
        return run_task(work, parcel, captured, values)

    return run


@contextlib.contextmanager
def _running(work: Work) -> Iterator[Any]:
    """Make the public API work inside, for this call; what is raised becomes its failure. Gives the engine."""
    engine = enter(work.settings)
    token = here.set(
        Here(
            name=work.name,
            function_name=work.function_name,
            namespace=engine.namespace,
            runtime_env=work.runtime_env,
        )
    )
    try:
        yield engine
    except _PASS:
        raise
    except BaseException as error:  # user code may raise anything
        raise failure(error, work.name, _retry_of(work), engine.node_hex) from None
    finally:
        here.reset(token)


def run_task(work: Work, parcel: Wrapped, captured: Any, values: tuple[Any, ...]) -> Any:
    """Run a function once and return its results as Ray keeps them."""
    with _running(work) as engine:
        function = _function_of(engine, work, captured)
        args, kwargs = arguments(engine, parcel, values)
        return results(work, function(*args, **kwargs))


def results(work: Work, value: Any) -> Any:
    """Return what the call gave, as many as it was asked for. Raises ValueError and NotSerializable."""
    count = work.num_returns
    if count == 0:
        return None
    if count == 1 and not hasattr(value, "__next__"):
        return wrap_value(value, what=f"what {work.name}() returned")
    try:
        items = list(value)
    except TypeError:
        raise ValueError(
            f"{work.name}() has num_returns={count} but returned {type(value).__name__}"
        ) from None
    if len(items) != count:
        raise ValueError(f"{work.name}() has num_returns={count} but returned {len(items)} values")
    wrapped = [wrap_value(item, what=f"what {work.name}() returned") for item in items]
    return wrapped[0] if count == 1 else wrapped


def run_stream(work: Work, parcel: Wrapped, captured: Any, values: tuple[Any, ...]) -> Iterator[Any]:
    """Run a generator and yield its items as Ray keeps them."""
    with _running(work) as engine:
        function = _function_of(engine, work, captured)
        args, kwargs = arguments(engine, parcel, values)
        for item in items_of(function(*args, **kwargs)):
            yield wrap_value(item, what=f"what {work.name}() yielded")


def items_of(made: Any) -> Iterator[Any]:
    """Iterate over what a generator function, or an async one, made."""
    if not hasattr(made, "__anext__"):
        yield from made
        return
    with asyncio.Runner() if hasattr(asyncio, "Runner") else _Loop() as runner:
        while True:
            try:
                item = runner.run(_next(made))
            except StopAsyncIteration:
                return
            yield item


async def _next(made: Any) -> Any:
    return await anext(made)


class _Loop:
    """asyncio.Runner of Python 3.10."""

    def __enter__(self) -> _Loop:
        self._loop = asyncio.new_event_loop()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.close()

    def run(self, coroutine: Any) -> Any:
        """Run one coroutine to its end."""
        return self._loop.run_until_complete(coroutine)


@attrs.frozen(kw_only=True)
class Setup:
    """What an actor's process must know to make its instance."""

    cls: bytes
    settings: bytes
    info: bytes  # the pickled ActorInfo, less the identifier, which Ray gives
    runtime_env: bytes = b""


class _Instance:
    """An instance of the user's class inside a Ray actor."""

    def __init__(self, setup: Setup, parcel: Wrapped, captured: Any, *values: Any) -> None:
        engine = self._engine = enter(setup.settings)
        self._info: ActorInfo = attrs.evolve(
            pickle.loads(setup.info),
            actor_id=load_ray().get_runtime_context().current_actor._actor_id.binary(),
        )
        self._runtime_env = setup.runtime_env
        engine.inside(self._info)
        name = f"{self._info.class_name}.__init__"
        token = here.set(self._here(name, name))
        try:
            refs = [engine.reference(identifier, thing) for identifier, thing in captured]
            cls = load_function(setup.cls, refs)
            args, kwargs = arguments(engine, parcel, values)
            self._instance = cls(*args, **kwargs)
        except ActorExit:
            part("actor").exit_actor()
        except _PASS:
            raise
        except BaseException as error:  # user code may raise anything
            raise failure(error, name, False, engine.node_hex) from None
        finally:
            here.reset(token)

    def _here(self, name: str, function_name: str) -> Here:
        return Here(
            name=name,
            function_name=function_name,
            namespace=self._info.namespace,
            runtime_env=self._runtime_env,
            info=self._info,
        )

    def _prepare(self, work: Work, parcel: Wrapped, values: tuple[Any, ...]) -> Any:
        args, kwargs = arguments(self._engine, parcel, values)
        if work.method == "__shoal_call__":
            function, *rest = args
            return functools.partial(function, self._instance, *rest, **kwargs)
        return functools.partial(getattr(self._instance, work.method), *args, **kwargs)

    def _failure(self, work: Work, error: BaseException) -> Exception:
        return failure(error, work.name, _retry_of(work), self._engine.node_hex)


class Host(_Instance):
    """The Ray actor for a class without coroutine methods."""

    def call(self, work: Work, parcel: Wrapped, *values: Any) -> Any:
        """Run one call of a method."""
        token = here.set(self._here(work.name, work.function_name))
        try:
            return results(work, self._prepare(work, parcel, values)())
        except ActorExit:
            leave = True
        except _PASS:
            raise
        except BaseException as error:  # user code may raise anything
            raise self._failure(work, error) from None
        finally:
            here.reset(token)
        return part("actor").exit_actor() if leave else None

    def stream(self, work: Work, parcel: Wrapped, *values: Any) -> Iterator[Any]:
        """Run one call of a generator method."""
        token = here.set(self._here(work.name, work.function_name))
        try:
            for item in items_of(self._prepare(work, parcel, values)()):
                yield wrap_value(item, what=f"what {work.name}() yielded")
        except _PASS:
            raise
        except BaseException as error:  # user code may raise anything
            raise self._failure(work, error) from None
        finally:
            here.reset(token)


class AsyncHost(_Instance):
    """The same for a class with coroutine methods: calls take turns on the event loop that Ray runs."""

    async def call(self, work: Work, parcel: Wrapped, *values: Any) -> Any:
        """Run one call of a method, awaiting what it returns if that can be awaited."""
        here.set(self._here(work.name, work.function_name))
        try:
            value = self._prepare(work, parcel, values)()
            if inspect.isawaitable(value):
                value = await value
            return results(work, value)
        except ActorExit:
            leave = True
        except _PASS:
            raise
        except BaseException as error:  # user code may raise anything
            raise self._failure(work, error) from None
        return part("actor").exit_actor() if leave else None

    async def stream(self, work: Work, parcel: Wrapped, *values: Any) -> AsyncIterator[Any]:
        """Run one call of a generator method, async or not."""
        here.set(self._here(work.name, work.function_name))
        try:
            made = self._prepare(work, parcel, values)()
            if hasattr(made, "__anext__"):
                async for item in made:
                    yield wrap_value(item, what=f"what {work.name}() yielded")
            else:
                for item in made:
                    yield wrap_value(item, what=f"what {work.name}() yielded")
        except _PASS:
            raise
        except BaseException as error:  # user code may raise anything
            raise self._failure(work, error) from None
