"""What replicas count: requests, errors, latencies. Exported as metrics of the session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.serve.context import ReplicaID

_FLUSH_SECONDS = 0.5
_MOST_TIMES = 2000  # of one flush that go into the histogram
BOUNDARIES_MS = (
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    50.0,
    100.0,
    200.0,
    500.0,
    1000.0,
    2000.0,
    5000.0,
    10000.0,
    60000.0,
)


class ReplicaInstruments:
    """The numbers of one replica."""

    def __init__(self, replica: ReplicaID) -> None:
        from shoal.util.metrics import Counter, Histogram

        tags = {
            "application": replica.deployment_id.app_name,
            "deployment": replica.deployment_id.name,
            "replica": replica.unique_id,
        }
        keys = tuple(tags)
        self._requests = Counter("serve_deployment_requests", "requests that a replica has finished", keys)
        self._errors = Counter("serve_deployment_errors", "requests that ended with an error", keys)
        self._latency = Histogram(
            "serve_deployment_latency_ms",
            "milliseconds a request took at its replica",
            list(BOUNDARIES_MS),
            keys,
        )
        for each in (self._requests, self._errors, self._latency):
            each.set_default_tags(tags)
        self.requests = 0
        self.errors = 0
        self.seconds = 0.0
        self._told = (0, 0)
        self._times: list[float] = []
        self._flushing = False

    def finished(self, seconds: float, failed: bool) -> None:
        """Count a request. The metrics get it with others, a little later: they take as long as a small request."""
        self.requests += 1
        self.seconds += seconds
        self._times.append(seconds)
        if failed:
            self.errors += 1
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        times, self._times = self._times, []
        requests, errors = self._told
        self._told = (self.requests, self.errors)
        self._requests.inc(self.requests - requests)
        if self.errors > errors:
            self._errors.inc(self.errors - errors)
        self._latency.observe_many([max(seconds * 1e3, 1e-6) for seconds in times[:_MOST_TIMES]])

    def numbers(self) -> dict[str, Any]:
        """Return the totals."""
        return {"requests": self.requests, "errors": self.errors, "seconds": self.seconds}
