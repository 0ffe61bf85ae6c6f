"""Futures of references: somebody is to get a value as soon as it is there, and no thread waits for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from shoal.native.client.values import decode

if TYPE_CHECKING:
    from shoal.interfaces.refs import ObjectRef
    from shoal.native.client.client import Client


class _Awaited(ABC):
    """Brings the value of one reference to one future, which keeps the reference alive until then."""

    __slots__ = ("_client", "_promised", "_ref", "_tried", "future")

    def __init__(self, client: Client, ref: ObjectRef[Any], future: Any) -> None:
        self.future = future
        self._client = client
        self._ref: Any = ref
        self._promised = False
        self._tried = False

    @abstractmethod
    def _is_wanted(self) -> bool:
        """Whether the future still takes a value."""

    @abstractmethod
    def _deliver(self, value: Any, error: BaseException | None) -> None:
        """Complete the future, in whichever thread."""

    def begin(self) -> None:
        client, record = self._client, self._ref.record
        reactor = client.reactor
        with reactor.lock:
            if record.status is None:
                client.check_usable()
                self._promised = True
                reactor.promise()
                record.watch(self._settle_soon)
                if not record.owned:
                    client.objects.want([record])
                reactor.flush_soon()
                return
        self._settle()

    def _settle_soon(self) -> None:
        self._client.reactor.call_soon_unlocked(self._settle)

    def _settle(self) -> None:
        client, record = self._client, self._ref.record
        missing = client.pulls.missing_records([record]) if client.peers.in_cluster else []
        if missing and not self._tried:
            self._tried = True
            with client.reactor.lock:
                client.pulls.begin(missing, self._settle_soon)
                client.reactor.flush()
            return
        if self._promised:
            client.reactor.keep_promise()
        if not self._is_wanted():
            return
        try:
            value = decode(client, record)
        except BaseException as error:  # the value is an error: it is the future's
            self._deliver(None, error)
        else:
            self._deliver(value, None)
        self._ref = None


class _ForThreads(_Awaited):
    __slots__ = ()

    def _is_wanted(self) -> bool:
        return bool(self.future.set_running_or_notify_cancel())

    def _deliver(self, value: Any, error: BaseException | None) -> None:
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)


class _ForLoop(_Awaited):
    __slots__ = ("_thread",)

    def __init__(self, client: Client, ref: ObjectRef[Any]) -> None:
        super().__init__(client, ref, asyncio.get_running_loop().create_future())
        self._thread = threading.get_ident()

    def _is_wanted(self) -> bool:
        return not self.future.done()

    def _deliver(self, value: Any, error: BaseException | None) -> None:
        if threading.get_ident() == self._thread:
            self._complete(value, error)
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody awaits anything there any more
            self.future.get_loop().call_soon_threadsafe(self._complete, value, error)

    def _complete(self, value: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(value)
        elif isinstance(error, StopIteration):  # no future of asyncio can hold one
            wrapped = RuntimeError("StopIteration was raised")
            wrapped.__cause__ = error
            self.future.set_exception(wrapped)
        else:
            self.future.set_exception(error)


def thread_future(client: Client, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
    """Return a future for any thread."""
    awaited = _ForThreads(client, ref, concurrent.futures.Future())
    awaited.begin()
    future: concurrent.futures.Future[Any] = awaited.future
    return future


def loop_future(client: Client, ref: ObjectRef[Any]) -> asyncio.Future[Any]:
    """Return a future of the asyncio loop that runs here."""
    awaited = _ForLoop(client, ref)
    awaited.begin()
    future: asyncio.Future[Any] = awaited.future
    return future
