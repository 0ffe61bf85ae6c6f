"""A request is a span in the proxy and one in each replica that it reaches, in one trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking_services import base_url, until

import shoal
from shoal import serve

pytest.importorskip("uvicorn")
pytest.importorskip("opentelemetry.sdk")
pytestmark = pytest.mark.processes


@serve.deployment
class Inner:
    def __call__(self) -> str:
        return "inner"


@serve.deployment
class Outer:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, request: Any) -> str:
        return "outer " + await self.inner.remote()


def test_one_trace_goes_from_the_header_to_the_last_replica(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPANS_DIR", str(tmp_path))
    with shoal.init(num_cpus=4, num_gpus=0):
        serve.start(http_options={"port": 0}, tracing_config={"enabled": True})
        serve.run(Outer.bind(Inner.bind()))
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        header = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        assert httpx.get(base_url(), headers=header, timeout=30).text == "outer inner"

        def spans() -> dict[str, Any]:
            lines = [line for each in tmp_path.glob("*.txt") for line in each.read_text().splitlines()]
            return {(span := json.loads(line))["name"]: span for line in lines}

        until(lambda: len(spans()) >= 3)
        found = spans()
        serve.shutdown()
    proxy, outer, inner = (
        found[name] for name in ("proxy GET /", "replica Outer.__call__", "replica Inner.__call__")
    )
    assert {each["context"]["trace_id"] for each in (proxy, outer, inner)} == {f"0x{trace}"}
    assert proxy["parent_id"] == "0x00f067aa0ba902b7"
    assert outer["parent_id"] == proxy["context"]["span_id"]
    assert inner["parent_id"] == outer["context"]["span_id"]
