"""The dashboard: a session's HTTP server, its API and its pages."""

from __future__ import annotations

__all__: list[str] = []
