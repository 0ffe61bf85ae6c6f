"""Where the proxy of a session listens."""

from __future__ import annotations

import shoal
from shoal.serve.api import controller_or_none


def base_url() -> str:
    """Return where the proxy of this session listens."""
    told = shoal.get(controller_or_none().proxies_ready.remote(30.0), timeout=60)
    [(host, port, message)] = told.values()
    assert port, message
    return f"http://{host}:{port}"
