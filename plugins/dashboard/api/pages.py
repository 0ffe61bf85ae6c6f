"""The content of pages that libraries fill."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.dashboard.context import SessionContext

_log = logging.getLogger("shoal.dashboard")
_AGE_SECONDS = 1.0
KNOWN = ("serve", "train", "tune", "data")


class PageData:
    """Asks libraries, each at most once a second. From any thread."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._locks = {name: threading.Lock() for name in KNOWN}
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    def content(self, name: str) -> dict[str, Any]:
        """Return a page's content; `absent` says that no library fills it. Raises KeyError for no page of libraries."""
        if name not in self._locks and name not in self._context.pages:
            raise KeyError(f"no page is named {name!r}; there are {', '.join(KNOWN)}")
        page = self._context.pages.get(name)
        if page is None:
            return {"absent": True}
        with self._locks.setdefault(name, threading.Lock()):
            when, content = self._kept.get(name, (0.0, {}))
            if time.monotonic() - when > _AGE_SECONDS or not content:
                try:
                    content = dict(page())
                except Exception as error:  # a stranger's function may raise anything
                    _log.exception("the page %s could not be filled", name)
                    content = {"error": f"{type(error).__name__}: {error}"[:2000]}
                self._kept[name] = (time.monotonic(), content)
            return content
