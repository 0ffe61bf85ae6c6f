"""Policies of autoscaling: from what is seen of a deployment to how many replicas it is to have."""

from __future__ import annotations

import math

from shoal.serve.config import AutoscalingContext


def replica_queue_length_autoscaling_policy(ctx: AutoscalingContext) -> int:
    """Return as many replicas as give each `target_ongoing_requests`, smoothed by the config's factors.

    Example: `AutoscalingConfig(policy=replica_queue_length_autoscaling_policy)`, which is what there is without one.
    """
    config = ctx.config
    current = ctx.target_num_replicas
    if current == 0:
        return 1 if ctx.total_num_requests > 0 else 0
    ratio = ctx.total_num_requests / config.get_target_ongoing_requests() / current
    if ratio >= 1:
        ratio = 1 + (ratio - 1) * config.get_upscaling_factor()
        return math.ceil(current * ratio - 1e-9)
    ratio = 1 - (1 - ratio) * config.get_downscaling_factor()
    wanted = math.ceil(current * ratio - 1e-9)
    if wanted == current and ctx.total_num_requests / config.get_target_ongoing_requests() <= current - 1:
        wanted = current - 1  # a small factor must not keep it there for ever
    return wanted


default_autoscaling_policy = replica_queue_length_autoscaling_policy
