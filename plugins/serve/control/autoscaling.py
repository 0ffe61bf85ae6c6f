"""How many replicas one deployment is to have, as a state machine without I/O: numbers in, a decision out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from shoal.serve.autoscaling_policy import replica_queue_length_autoscaling_policy
from shoal.serve.config import AggregationFunction, AutoscalingConfig, AutoscalingContext


class Autoscaler:
    """Watches one deployment. `look` takes what is seen and returns how many replicas there are to be."""

    def __init__(self, app: str, deployment: str) -> None:
        self._app = app
        self._deployment = deployment
        self._seen: deque[tuple[float, float]] = deque()  # when, how many requests
        self._since: float | None = None  # the wish for more (or for fewer) has been there since
        self._direction = 0
        self._state: Mapping[str, Any] = {}
        self.last_up: float | None = None
        self.last_down: float | None = None
        self.decisions: deque[Mapping[str, Any]] = deque(maxlen=20)

    def look(
        self,
        config: AutoscalingConfig,
        now: float,
        *,
        target: int,
        running: int,
        ongoing: float,
        queued: float,
        raw: Mapping[str, Any] | None = None,
    ) -> int:
        """Return the number of replicas wanted from now on; `target` if nothing changes.

        What the policy raises comes out of here.
        """
        context = self.observe(
            config, now, target=target, running=running, ongoing=ongoing, queued=queued, raw=raw
        )
        wanted: Any = (config.get_policy() or replica_queue_length_autoscaling_policy)(context)
        return self.settle(context, wanted)

    def observe(
        self,
        config: AutoscalingConfig,
        now: float,
        *,
        target: int,
        running: int,
        ongoing: float,
        queued: float,
        raw: Mapping[str, Any] | None = None,
    ) -> AutoscalingContext:
        """Take note of what is seen, and return what a policy is asked with."""
        self._seen.append((now, ongoing + queued))
        while self._seen[0][0] < now - config.look_back_period_s:
            self._seen.popleft()
        return AutoscalingContext(
            deployment_name=self._deployment,
            app_name=self._app,
            config=config,
            current_num_replicas=running,
            target_num_replicas=target,
            total_num_requests=self._aggregate(config),
            total_queued_requests=queued,
            total_running_requests=ongoing,
            capacity_adjusted_min_replicas=config.min_replicas,
            capacity_adjusted_max_replicas=config.max_replicas,
            current_time=now,
            last_scale_up_time=self.last_up,
            last_scale_down_time=self.last_down,
            policy_state=self._state,
            raw_metrics=raw or {},
        )

    def settle(self, context: AutoscalingContext, wanted: Any) -> int:
        """Return how many replicas there are to be, when a policy said this: a number, or that and its state.

        Raises TypeError for anything else.
        """
        config, now, target = context.config, context.current_time, context.target_num_replicas
        if isinstance(wanted, tuple):
            wanted, self._state = wanted
        if isinstance(wanted, bool) or not isinstance(wanted, (int, float)):
            raise TypeError(
                f"the policy of {self._deployment} returned {wanted!r}, which is no number of replicas"
            )
        bounded = min(max(int(wanted), config.min_replicas), config.max_replicas)
        if target == 0 and context.total_queued_requests > 0:  # somebody waits, and nobody is there
            return self._decide(max(1, bounded), target, now, "requests wait and there is no replica")
        return self._after_delay(config, bounded, target, now)

    def _aggregate(self, config: AutoscalingConfig) -> float:
        values = [value for _, value in self._seen]
        if config.aggregation_function is AggregationFunction.MAX:
            return max(values)
        if config.aggregation_function is AggregationFunction.MIN:
            return min(values)
        return sum(values) / len(values)

    def _after_delay(self, config: AutoscalingConfig, wanted: int, target: int, now: float) -> int:
        direction = (wanted > target) - (wanted < target)
        if direction == 0:
            self._direction, self._since = 0, None
            return target
        if direction != self._direction or self._since is None:
            self._direction, self._since = direction, now
        delay = config.upscale_delay_s if direction > 0 else config.downscale_delay_s
        if wanted == 0:
            if target > 1:  # the last replica may have a patience of its own
                wanted = 1 if now - self._since >= delay else target
                return self._decide(wanted, target, now, "less to do") if wanted != target else target
            if config.downscale_to_zero_delay_s is not None:
                delay = config.downscale_to_zero_delay_s
        if now - self._since < delay:
            return target
        return self._decide(wanted, target, now, "more to do" if direction > 0 else "less to do")

    def _decide(self, wanted: int, target: int, now: float, why: str) -> int:
        if wanted != target:
            self._direction, self._since = 0, None
            if wanted > target:
                self.last_up = now
            else:
                self.last_down = now
            self.decisions.append({"time": now, "from": target, "to": wanted, "why": why})
        return wanted
