"""Services by gRPC: protos of a user's own, compiled as users do, and called by real clients."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import shoal
from shoal import serve
from shoal.errors import ConfigError
from shoal.serve.exceptions import gRPCStatusError

grpc = pytest.importorskip("grpc")
protoc = pytest.importorskip("grpc_tools.protoc")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.processes

PROTO = """
syntax = "proto3";
package words_of_fish;
message Text { string text = 1; int32 times = 2; }
service Words {
  rpc Shout(Text) returns (Text);
  rpc Repeat(Text) returns (stream Text);
  rpc Join(stream Text) returns (Text);
  rpc Echo(stream Text) returns (stream Text);
  rpc Fail(Text) returns (Text);
  rpc Forgotten(Text) returns (Text);
}
"""


class Words:
    """What answers; its methods have the RPCs' names."""

    def Shout(self, message: Any, grpc_context: Any) -> Any:
        grpc_context.set_trailing_metadata([("application-was", grpc_context.application())])
        return type(message)(text=f"{message.text.upper()}{serve.get_multiplexed_model_id()}")

    def Repeat(self, message: Any) -> Any:
        for number in range(message.times):
            yield type(message)(text=message.text, times=number)

    async def Join(self, messages: Any) -> Any:
        given = [each async for each in messages]
        assert messages.is_exhausted
        return type(given[0])(text=" ".join(each.text for each in given), times=len(given))

    async def Echo(self, messages: Any) -> Any:
        async for each in messages:
            yield type(each)(text=each.text, times=each.times + 1)

    async def Fail(self, message: Any, grpc_context: Any) -> Any:
        if message.text == "wait":
            await asyncio.sleep(3600)
        if message.text == "own":
            raise gRPCStatusError(KeyError("x"), grpc.StatusCode.ALREADY_EXISTS, "twice")
        if message.text == "code":
            grpc_context.set_code(grpc.StatusCode.NOT_FOUND)
            grpc_context.set_details("no such word")
            grpc_context.set_trailing_metadata([("why", "it")])
        if message.text == "wrong":
            return "no message"
        raise KeyError(message.text)


@pytest.fixture(scope="module")
def protos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The compiled protos: modules of messages and of stubs."""
    folder = tmp_path_factory.mktemp("protos")
    (folder / "words_of_fish.proto").write_text(PROTO)
    assert not protoc.main(
        [
            "protoc",
            f"-I{folder}",
            f"--python_out={folder}",
            f"--grpc_python_out={folder}",
            "words_of_fish.proto",
        ]
    )
    sys.path.insert(0, str(folder))
    yield importlib.import_module("words_of_fish_pb2"), importlib.import_module("words_of_fish_pb2_grpc")
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def channel(protos: Any) -> Iterator[Any]:
    """A channel to a proxy that serves gRPC, with the application `words`."""
    with shoal.init(num_cpus=4, num_gpus=0):
        serve.start(
            http_options={"port": 0},
            grpc_options={
                "port": 0,
                "grpc_servicer_functions": ["words_of_fish_pb2_grpc:add_WordsServicer_to_server"],
                "enable_reflection": True,
                "request_timeout_s": 20,
                "max_message_bytes": 100_000,
            },
        )
        serve.run(serve.deployment(Words).bind(), name="words", route_prefix="/words")
        [proxy] = serve.proxies()
        with grpc.insecure_channel(f"127.0.0.1:{proxy.grpc_port}") as channel:
            yield channel
        serve.shutdown()


@pytest.fixture
def stub(protos: Any, channel: Any) -> Any:
    """The client that grpcio-tools has made."""
    return protos[1].WordsStub(channel)


def test_messages_go_in_all_four_ways(stub: Any, protos: Any) -> None:
    text = protos[0].Text
    assert stub.Shout(text(text="fish")).text == "FISH"
    assert [each.times for each in stub.Repeat(text(text="a", times=5))] == [0, 1, 2, 3, 4]
    joined = stub.Join(iter([text(text=str(number)) for number in range(40)]))
    assert joined.text == " ".join(str(number) for number in range(40))
    assert [each.times for each in stub.Echo(iter([text(times=number) for number in range(40)]))] == list(
        range(1, 41)
    )


def test_metadata_says_application_model_and_request(stub: Any, protos: Any) -> None:
    answer, call = stub.Shout.with_call(
        protos[0].Text(text="a"),
        metadata=[("application", "words"), ("multiplexed_model_id", "-m7"), ("request_id", "r1")],
    )
    assert answer.text == "A-m7"
    assert dict(call.trailing_metadata()) == {"application-was": "words", "request_id": "r1"}
    with pytest.raises(
        grpc.RpcError, match="no application 'others'; those with a route are: words"
    ) as caught:
        stub.Shout(protos[0].Text(), metadata=[("application", "others")])
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("text", "code", "details"),
    [
        ("code", "NOT_FOUND", "no such word"),
        ("own", "ALREADY_EXISTS", "twice"),
        ("secret", "INTERNAL", "Fail failed: the log of the proxy has more"),
        ("wrong", "INTERNAL", "Fail failed: the log of the proxy has more"),
    ],
)
def test_what_goes_wrong_is_the_calls_status(
    stub: Any, protos: Any, text: str, code: str, details: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Fail(protos[0].Text(text=text))
    assert (caught.value.code().name, caught.value.details()) == (code, details)
    if text == "code":
        assert ("why", "it") in caught.value.trailing_metadata()


def test_methods_that_are_missing_and_messages_that_are_too_large_are_refused(stub: Any, protos: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Forgotten(protos[0].Text())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as caught:
        stub.Shout(protos[0].Text(text="x" * 200_000))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_client_that_waits_no_longer_frees_the_replica(stub: Any, protos: Any) -> None:
    text = protos[0].Text
    for _ in range(8):  # more than run at once
        with pytest.raises(grpc.RpcError) as caught:
            stub.Fail(text(text="wait"), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert stub.Shout(text(text="b"), timeout=20).text == "B"


def test_the_proxy_tells_of_itself(channel: Any, stub: Any) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    for service in ("shoal.serve.ServeAPIService", "ray.serve.RayServeAPIService"):
        assert channel.unary_unary(f"/{service}/Healthz")(b"") == b"\n\x07success"
        assert channel.unary_unary(f"/{service}/ListApplications")(b"") == b"\n\x05words"
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    [told] = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
    assert "words_of_fish.Words" in {each.name for each in told.list_services_response.service}


def test_options_that_are_wrong_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        serve.start(grpc_options={"grpc_servicer_functions": ["no_such_module_of_protos:add"]})
    with pytest.raises(ConfigError, match="grpc_options has no prot"):
        serve.start(grpc_options={"prot": 1})
    with pytest.raises(ConfigError, match="must be a list of MODULE:NAME"):
        serve.start(grpc_options={"grpc_servicer_functions": "a:b"})
