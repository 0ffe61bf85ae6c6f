"""Canaries: part of the requests goes to the next version, more and more of them, and none is lost on the way."""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import Any

import httpx
import pytest
from asking_services import base_url

import shoal
from shoal import serve
from shoal.errors import ConfigError
from shoal.serve.api import controller_or_none
from shoal.serve.canaries import Canary
from shoal.serve.deploying import built
from shoal.serve.exceptions import ServeError
from shoal.serve.schema import ServeApplicationSchema

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.processes


@serve.deployment(max_ongoing_requests=50)
class Version:
    def __init__(self, name: str) -> None:
        self.name = name

    async def __call__(self, request: Any) -> str:
        return self.name


app = Version.bind("new")


def deploy(*names: str) -> None:
    serve.run(Version.bind("old"), name="words", route_prefix="/words")
    for name in names:
        serve.run(Version.bind(name), name=name, route_prefix=None)


def counted(client: httpx.Client, number: int, **headers: str) -> Counter[str]:
    answers = [client.get("/words", headers=headers) for _ in range(number)]
    assert {each.status_code for each in answers} == {200}
    return Counter(each.text for each in answers)


def test_a_share_of_the_requests_goes_to_the_canary_and_those_with_the_header(client: httpx.Client) -> None:
    deploy("new")
    assert counted(client, 20) == {"old": 20}
    serve.canary("words", "new", weight=0.2, header={"X-Canary": "on"})
    told = counted(client, 2000)
    assert abs(told["new"] - 400) < 5 * math.sqrt(2000 * 0.2 * 0.8)
    assert counted(client, 20, **{"x-canary": "on"}) == {"new": 20}
    assert len(counted(client, 30, **{"x-session-id": "anna"})) == 1
    serve.run(Version.bind("old"), name="words", route_prefix="/words")  # again: the canary stays
    assert shoal.get(controller_or_none().status.remote())["applications"]["words"]["canary"] == {
        "application": "new",
        "weight": 0.2,
        "header": {"x-canary": "on"},
    }
    serve.canary("words", None)
    assert counted(client, 50, **{"x-canary": "on"}) == {"old": 50}


def test_rolled_forward_and_back_without_a_lost_request(client: httpx.Client) -> None:
    deploy("new")
    statuses: Counter[tuple[int, str]] = Counter()
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=base_url(), timeout=30) as mine:
            while not over.is_set():
                answer = mine.post("/words", content=b"x")
                statuses[
                    answer.status_code, answer.text if answer.status_code == 200 else answer.text[:80]
                ] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for each in threads:
        each.start()
    try:
        for weight in (0.1, 0.5, 1.0):
            serve.canary("words", "new", weight=weight)
            assert counted(client, 40).total() == 40
        assert counted(client, 40) == {"new": 40}
        serve.run(Version.bind("new"), name="words", route_prefix="/words")
        serve.delete("new")  # what it was to take goes to the application itself
        assert counted(client, 40) == {"new": 40}
    finally:
        over.set()
        for each in threads:
            each.join(30)
    assert set(statuses) == {(200, "old"), (200, "new")}


def test_a_config_file_says_it_and_what_is_wrong_is_refused(client: httpx.Client) -> None:
    schema = ServeApplicationSchema(
        name="words", import_path=f"{__name__}:app", canary={"application": "new", "weight": 1}
    )
    assert built(schema).canary == Canary(application="new", weight=1)
    with pytest.raises(ConfigError, match="weight must be a number from 0 to 1"):
        Canary(application="new", weight=10)
    with pytest.raises(ConfigError, match="canary has no wight"):
        built(schema.model_copy(update={"canary": {"application": "new", "wight": 1}}))
    deploy()
    with pytest.raises(ServeError, match="no application named 'new'"):
        serve.canary("words", "new", weight=0.1)
    with pytest.raises(ServeError, match="its own canary"):
        serve.canary("words", "words", weight=0.1)
