"""The native engine as a client outside the cluster has it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from shoal.interfaces.engine import CallResult
from shoal.interfaces.refs import ObjectRef
from shoal.native.client.records import Record
from shoal.native.client.values import MISSING, decode
from shoal.native.engine import NativeEngine
from shoal.native.wire import kinds
from shoal.spec.calls import ActorInfo, ActorTemplate, ExecutionContext, MethodTemplate, TaskTemplate

if TYPE_CHECKING:
    from shoal.config import Config
    from shoal.native.remote.client import RemoteClient
    from shoal.native.remote.modules import ClientModules


class RemoteEngine(NativeEngine):
    """Owns what its calls return, as every driver does; only the way to the others is longer.

    Before anything is pickled, it sees to it that what only this client can import goes by value.
    """

    name: ClassVar[str] = "client"
    client: RemoteClient

    @classmethod
    def start(cls, config: Config) -> RemoteEngine:
        from shoal.native.remote.start import start_client

        return start_client(config, cls)

    def __init__(self, client: RemoteClient, modules: ClientModules, address: str) -> None:
        super().__init__(client)
        self._modules = modules
        self._address = address
        submit, call_actor, look = client.tasks.submit, client.actors.call, modules.look

        def submit_looking(
            template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> CallResult:
            look()
            result: CallResult = submit(template, args, kwargs)
            return result

        def call_looking(
            info: ActorInfo, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> CallResult:
            look()
            result: CallResult = call_actor(info, template, args, kwargs)
            return result

        self.submit = submit_looking  # type: ignore[method-assign]
        self.call_actor = call_looking  # type: ignore[method-assign]

    def close(self) -> None:
        super().close()
        if self.client.process == os.getpid():
            self._modules.forget()

    def create_actor(
        self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorInfo, ObjectRef[Any] | None]:
        self._modules.look()
        return super().create_actor(template, args, kwargs)

    def put(self, value: Any) -> ObjectRef[Any]:
        self._modules.look()
        return super().put(value)

    def loop_future(self, ref: ObjectRef[Any]) -> asyncio.Future[Any]:
        return asyncio.wrap_future(self.future(ref))

    def future(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        client = self.client
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        record: Record = ref.record
        keep: list[Any] = [ref]  # the reference lives as long as somebody waits for it

        def bring() -> None:
            """It has a value: have the bytes of a large one copied to the gateway's node, and then here."""
            missing = client.pulls.missing_records([record])
            if missing:
                client.pulls.begin(missing, fetch)
            else:
                fetch()

        def fetch() -> None:
            if record.status != kinds.STORED:
                settle_soon(None)
            else:
                client.store.begin(record.object_id, record.payload[0], settle_soon)

        def settle_soon(buffer: Any) -> None:
            keep.append(buffer)
            client.reactor.call_soon_unlocked(settle)

        def settle() -> None:
            if not future.running() and not future.set_running_or_notify_cancel():
                return
            try:
                value = decode(client, record)
            except BaseException as error:  # the value is an error: it is the future's
                future.set_exception(error)
                return
            if value is MISSING:  # the store has lost it: it is made again, or becomes an error
                with client.reactor.lock:
                    client.objects.lost(record)
                    begin()
                return
            future.set_result(value)
            keep.clear()

        def begin() -> None:
            if record.status is None:
                record.watch(bring)
                client.objects.want([record])
            else:
                bring()
            client.reactor.flush()

        with client.reactor.lock:
            if record.status is None:
                client.check_usable()
            begin()
        return future

    def context(self) -> ExecutionContext:
        return attrs.evolve(super().context(), address=self._address)
