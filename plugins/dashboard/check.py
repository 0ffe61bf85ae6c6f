"""The dashboard's check for `shoal doctor`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

from shoal.config import Config
from shoal.interfaces.checks import GOOD, WARNING, Finding


def check(config: Config) -> Iterator[Finding]:
    """Look whether what the dashboard needs is there."""
    if config.include_dashboard is False:
        yield Finding(GOOD, "sessions have no dashboard: include_dashboard is false")
        return
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        text = f"the dashboard needs {' and '.join(missing)}, which cannot be imported"
        yield Finding(WARNING, text, "install shoal[dashboard], or set include_dashboard=false")
        return
    if not os.path.exists(os.path.join(os.path.dirname(__file__), "static", "index.html")):
        yield Finding(WARNING, "the dashboard's pages are not built", "run `make web` in the checkout")
        return
    yield Finding(GOOD, "the dashboard can be served")
