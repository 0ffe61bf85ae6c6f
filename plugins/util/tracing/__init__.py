"""Spans of OpenTelemetry around each call, where it is submitted and where it runs, joined across processes."""

from __future__ import annotations

from shoal.util.tracing.follow import disable_tracing, enable_tracing, is_tracing

__all__ = ["disable_tracing", "enable_tracing", "is_tracing"]
