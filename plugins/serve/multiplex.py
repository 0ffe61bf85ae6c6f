"""Many models in one replica: which are loaded, and who goes when another one comes."""

from __future__ import annotations

import asyncio
import functools
import inspect
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.serve.batching import kept_by
from shoal.serve.context import get_multiplexed_model_id

_caches: weakref.WeakSet[_Models] = weakref.WeakSet()


class _Models:
    """The models of one object, the one used last at the end."""

    def __init__(self, load: Callable[..., Any], most: int) -> None:
        self._load = load
        self._most = most
        self._models: OrderedDict[str, Any] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Any]] = {}
        self._one_at_a_time = asyncio.Lock()
        _caches.add(self)

    @property
    def names(self) -> list[str]:
        """The models that are loaded."""
        return list(self._models)

    async def get(self, owner: tuple[Any, ...], name: str) -> Any:
        """Return a model, loading it if it is not there; who asks at the same time waits for the same loading."""
        if name in self._models:
            self._models.move_to_end(name)
            return self._models[name]
        task = self._loading.get(name)
        if task is None:
            task = self._loading[name] = asyncio.get_running_loop().create_task(self._bring(owner, name))
            task.add_done_callback(lambda _: self._loading.pop(name, None))
        return await asyncio.shield(task)  # one who leaves must not stop the loading for others

    async def _bring(self, owner: tuple[Any, ...], name: str) -> Any:
        async with self._one_at_a_time:
            while 0 < self._most <= len(self._models):
                _, old = self._models.popitem(last=False)
                await _unload(old)
            model = await self._load(*owner, name)
            self._models[name] = model
            return model


async def _unload(model: Any) -> None:
    """Call `__unload__` of a model, if it has one; its memory goes with the last reference."""
    method = getattr(model, "__unload__", None)
    if method is not None:
        result = method()
        if inspect.isawaitable(result):
            await result


def multiplexed(func: Callable[..., Any] | None = None, max_num_models_per_replica: int = 3) -> Any:
    """Keep the models that an async method (or function) loads by name: the ones used last, up to so many (−1: all).

    Requests for a model go to replicas that have it, if those have room. A model with a method `__unload__` is
    told when it goes. Without an argument the loader loads what the request asks for
    (`get_multiplexed_model_id`). Raises ConfigError for a wrong number, TypeError for a function that is not
    async.

    Example: `@serve.multiplexed(max_num_models_per_replica=2)` above `async def load(self, model_id: str)`.
    """
    most = max_num_models_per_replica
    if type(most) is not int or (most < 1 and most != -1):
        raise ConfigError(
            f"max_num_models_per_replica must be a whole number ≥ 1, or −1, not {describe(most)}"
        )

    def decorate(function: Callable[..., Any]) -> Any:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(
                f"@serve.multiplexed is for an async function or method, not {describe(function)}"
            )
        is_method = next(iter(inspect.signature(function).parameters), "") == "self"

        @functools.wraps(function)
        async def load(*args: Any) -> Any:
            owner, rest = (args[:1], args[1:]) if is_method else ((), args)
            name = rest[0] if rest else get_multiplexed_model_id()
            if not isinstance(name, str) or not name:
                raise ValueError(
                    "no model is named: call with handle.options(multiplexed_model_id=…), or with the header "
                    "serve_multiplexed_model_id"
                )
            caches = kept_by(owner[0] if owner else load, "__serve_models__")
            models = caches.get(function.__qualname__)
            if models is None:
                models = caches[function.__qualname__] = _Models(function, most)
            return await models.get(owner, name)

        return load

    return decorate if func is None else decorate(func)


def loaded_models() -> list[str]:
    """Return the models that this process has loaded."""
    return [name for each in _caches for name in each.names]
