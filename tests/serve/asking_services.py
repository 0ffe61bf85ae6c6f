"""Where the proxy of a session listens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import shoal
from shoal.serve.api import controller_or_none


def base_url() -> str:
    """Return where the proxy of this session listens."""
    told = shoal.get(controller_or_none().proxies_ready.remote(30.0), timeout=60)
    [(host, port, message)] = told.values()
    assert port, message
    return f"http://{host}:{port}"


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)
