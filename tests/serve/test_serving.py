"""Services as users have them: over HTTP and by handles, on real processes."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

import shoal
from shoal import serve
from shoal.errors import ConfigError, GetTimeout, NotSerializable
from shoal.serve.exceptions import DeployFailedError, RequestCancelledError
from shoal.serve.metrics import Counter
from shoal.util.metrics import collect, flush

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.processes


@serve.deployment(num_replicas=2, max_ongoing_requests=20)
class Echo:
    async def __call__(self, request: Any) -> Any:
        return {"body": (await request.body()).decode(), "path": request.url.path, "pid": os.getpid()}

    def double(self, value: int) -> int:
        return value * 2

    def count(self, to: int) -> Any:
        yield from range(to)

    async def acount(self, to: int) -> Any:
        for number in range(to):
            yield number

    def fail(self) -> None:
        raise KeyError("no such thing")

    async def wait(self) -> None:
        await asyncio.sleep(3600)


def test_requests_reach_all_replicas_and_answers_are_right(client: httpx.Client) -> None:
    serve.run(Echo.bind(), route_prefix="/echo")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.post("/echo/a%20b", content=str(n)).json(), range(100)))
    assert [answer["body"] for answer in answers] == [str(number) for number in range(100)]
    assert {answer["path"] for answer in answers} == {"/echo/a b"}
    assert len({answer["pid"] for answer in answers}) == 2


def test_paths_that_nobody_serves_are_404_and_the_pages_of_the_proxy_tell(client: httpx.Client) -> None:
    serve.run(Echo.bind(), route_prefix="/echo")
    assert client.get("/elsewhere").status_code == 404
    assert client.get("/echoes").status_code == 404
    assert client.get("/-/routes").json() == {"/echo": "default"}
    assert client.get("/-/healthz").text == "success"


def test_a_handle_calls_methods_streams_and_raises_what_they_raise(client: httpx.Client) -> None:
    handle = serve.run(Echo.bind(), route_prefix=None)
    assert handle.double.remote(4).result(timeout_s=30) == 8
    assert list(handle.options(stream=True).count.remote(4)) == [0, 1, 2, 3]
    assert list(handle.options(stream=True).acount.remote(3)) == [0, 1, 2]
    with pytest.raises(KeyError, match="no such thing"):
        handle.fail.remote().result()
    with pytest.raises(AttributeError, match="has no method 'nothing'"):
        handle.nothing.remote().result()
    with pytest.raises(TypeError, match="stream=True"):
        handle.count.remote(3).result()


def test_a_response_may_be_an_argument(client: httpx.Client) -> None:
    handle = serve.run(Echo.bind(), route_prefix=None)
    chain = [
        handle.double.remote(number) for number in range(100)
    ]  # more than run at once: some wait for a replica
    assert [handle.double.remote(each).result() for each in chain] == [4 * number for number in range(100)]


def test_a_cancelled_request_ends_at_the_replica_and_time_runs_out(client: httpx.Client) -> None:
    handle = serve.run(Echo.options(num_replicas=1, max_ongoing_requests=1).bind(), route_prefix=None)
    running, waiting = handle.wait.remote(), handle.wait.remote()
    with pytest.raises(GetTimeout):
        running.result(timeout_s=0.2)
    with pytest.raises(GetTimeout, match="waits for a replica with room"):
        waiting.result(timeout_s=0.2)
    waiting.cancel()
    with pytest.raises(RequestCancelledError):
        waiting.result(timeout_s=30)
    running.cancel()
    with pytest.raises(RequestCancelledError):
        running.result(timeout_s=30)
    assert handle.double.remote(2).result(timeout_s=30) == 4  # there is room again


@serve.deployment
class Sum:
    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts

    async def __call__(self, request: Any) -> str:
        number = int(request.query_params["number"])
        return str(sum(await asyncio.gather(*(part.double.remote(number) for part in self.parts))))


def test_deployments_call_deployments(client: httpx.Client) -> None:
    one, other = Echo.options(num_replicas=1).bind(), Echo.options(num_replicas=1).bind()
    serve.run(Sum.bind([one, other, one]), name="sums")
    assert client.get("/", params={"number": 5}).text == "30"
    assert set(serve.status().applications["sums"].deployments) == {"Sum", "Echo", "Echo_1"}


def test_a_function_is_served_and_tasks_call_it_too(client: httpx.Client) -> None:
    @serve.deployment
    def shout(text: Any) -> Any:
        return text.upper() if isinstance(text, str) else text.url.path.upper()

    @shoal.remote
    def ask(handle: Any) -> Any:
        return handle.remote("from a task").result(timeout_s=30)

    handle = serve.run(shout.bind(), route_prefix="/shout")
    assert client.get("/shout/it").text == "/SHOUT/IT"
    assert shoal.get(ask.remote(handle)) == "FROM A TASK"


def test_a_constructor_that_fails_says_why_and_the_old_version_stays(client: httpx.Client) -> None:
    @serve.deployment(max_constructor_retry_count=2)
    class Fragile:
        def __init__(self, breaks: bool) -> None:
            if breaks:
                raise RuntimeError("the weights are missing")

        def __call__(self, request: Any) -> str:
            return "works"

    with pytest.raises(DeployFailedError, match="the weights are missing"):
        serve.run(Fragile.bind(True), name="fragile", route_prefix="/fragile")
    serve.run(Fragile.bind(False), name="fragile", route_prefix="/fragile")
    assert client.get("/fragile").text == "works"
    with pytest.raises(DeployFailedError, match="The version before it goes on"):
        serve.run(Fragile.bind(True), name="fragile", route_prefix="/fragile")
    assert client.get("/fragile").text == "works"
    assert serve.status().applications["fragile"].status == "DEPLOY_FAILED"


def test_wrong_options_and_targets_are_refused_at_once(client: httpx.Client) -> None:
    with pytest.raises(ConfigError, match="did you mean 'num_replicas'"):
        Echo.options(num_replica=2)
    with pytest.raises(ConfigError, match="num_replicas must be"):
        Echo.options(num_replicas=-1)
    with pytest.raises(ConfigError, match="max_ongoing_requests must be a whole number ≥ 1"):
        Echo.options(max_ongoing_requests=0)
    with pytest.raises(ConfigError, match="do not go together"):
        serve.deployment(num_replicas=2, autoscaling_config={"max_replicas": 3})(Sum.func_or_class)
    with pytest.raises(TypeError, match="bind"):
        serve.run(Echo)
    with pytest.raises(TypeError, match="parts"):
        Sum.bind()
    with pytest.raises(ConfigError, match="begin with a slash"):
        serve.run(Echo.bind(), route_prefix="echo")
    with pytest.raises(NotSerializable, match="Make what cannot be pickled"):
        serve.run(Sum.bind([__import__("threading").Lock()]))


def test_all_replicas_can_be_called_at_once(client: httpx.Client) -> None:
    handle = serve.run(Echo.bind(), route_prefix=None)
    results = handle.broadcast("double", 4).results(timeout_s=30)
    assert len(results) == 2
    assert set(results.values()) == {8}
    failed = handle.broadcast("fail").results(timeout_s=30, return_exceptions=True)
    assert all(isinstance(each, KeyError) for each in failed.values())


def test_numbers_of_ones_own_know_their_replica(client: httpx.Client) -> None:
    @serve.deployment
    class Counting:
        def __init__(self) -> None:
            self.words = Counter("words_of_services", "words", ("kind",))

        def __call__(self, request: Any) -> str:
            self.words.inc(2, {"kind": "short"})
            flush()
            return serve.get_replica_context().replica_tag

    serve.run(Counting.bind(), name="counting", route_prefix="/counting")
    tag = client.get("/counting").text
    [sample] = [each for each in collect() if each.name == "words_of_services"]
    assert sample.value == 2
    assert dict(sample.tags) == {
        "kind": "short",
        "application": "counting",
        "deployment": "Counting",
        "replica": tag,
    }


def test_two_applications_cannot_have_one_route(client: httpx.Client) -> None:
    serve.run(Echo.options(num_replicas=1).bind(), name="one", route_prefix="/same")
    with pytest.raises(ValueError, match="is that of application 'one'"):
        serve.run(Echo.options(num_replicas=1).bind(), name="two", route_prefix="/same")
    assert client.get("/same").status_code == 200


def test_local_testing_mode_needs_no_session() -> None:
    handle = serve.run(Echo.bind(), _local_testing_mode=True)
    assert handle.double.remote(handle.double.remote(2)).result() == 8
    assert list(handle.options(stream=True).count.remote(3)) == [0, 1, 2]
    with pytest.raises(KeyError):
        handle.fail.remote().result()
