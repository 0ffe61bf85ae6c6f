"""What a proxy answers by gRPC itself: which applications there are, that it lives, and which services it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from shoal.errors import ConfigError
from shoal.serve.proxy.routes import Routes

_SERVICE = "shoal.serve.ServeAPIService"
_REFERENCE = "ray.serve.RayServeAPIService"  # clients of the reference system ask there


def _messages() -> dict[str, Any]:
    """Return the messages' classes: two empty requests, names of applications, and one text."""
    file = descriptor_pb2.FileDescriptorProto(
        name="shoal/serve.proto", package="shoal.serve", syntax="proto3"
    )
    text, repeated = (
        descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
        descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
    )
    optional = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL
    for name, field, label in (
        ("ListApplicationsRequest", None, optional),
        ("ListApplicationsResponse", "application_names", repeated),
        ("HealthzRequest", None, optional),
        ("HealthzResponse", "message", optional),
    ):
        message = file.message_type.add(name=name)
        if field is not None:
            message.field.add(name=field, number=1, type=text, label=label)
    service = file.service.add(name="ServeAPIService")
    for name in ("ListApplications", "Healthz"):
        service.method.add(
            name=name,
            input_type=f".shoal.serve.{name}Request",
            output_type=f".shoal.serve.{name}Response",
        )
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        each.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"shoal.serve.{each.name}"))
        for each in file.message_type
    }


class OwnServices:
    """Answers for the proxy."""

    def __init__(self, routes: Callable[[], Awaitable[Routes]]) -> None:
        self._routes = routes
        self._messages = _messages()
        self._health: Any = None

    def handlers(self) -> dict[str, Any]:
        """Return what answers the methods of the proxy's own service."""
        made = self._messages

        async def applications(request: Any, context: Any) -> Any:
            names = sorted(each.app for each in (await self._routes()).all)
            return made["ListApplicationsResponse"](application_names=names)

        async def healthy(request: Any, context: Any) -> Any:
            return made["HealthzResponse"](message="success")

        return {
            name: grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=made[f"{name}Request"].FromString,
                response_serializer=made[f"{name}Response"].SerializeToString,
            )
            for name, answer in (("ListApplications", applications), ("Healthz", healthy))
        }

    def add_health(self, server: Any) -> bool:
        """Add gRPC's own health service, which orchestrators ask, if its package is there. Returns whether it is."""
        try:
            from grpc_health.v1 import health, health_pb2_grpc
        except ImportError:
            return False
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return True

    async def leave(self) -> None:
        """Say that the proxy ends: new calls are to go elsewhere."""
        if self._health is not None:
            await self._health.enter_graceful_shutdown()


def add_own_services(
    server: Any, routes: Callable[[], Awaitable[Routes]], names: Sequence[str], reflection: bool
) -> OwnServices:
    """Add what the proxy answers itself. Raises ConfigError if reflection is asked for and not installed."""
    own = OwnServices(routes)
    handlers = own.handlers()
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, handlers) for name in (_SERVICE, _REFERENCE))
    )
    services = [*names, _SERVICE]
    if own.add_health(server):
        services.append("grpc.health.v1.Health")
    if reflection:
        try:
            from grpc_reflection.v1alpha import reflection as service
        except ImportError as error:
            raise ConfigError(
                "enable_reflection needs grpcio-reflection: install it with `pip install 'shoal[grpc]'`"
            ) from error
        service.enable_server_reflection([*services, service.SERVICE_NAME], server)
    return own
