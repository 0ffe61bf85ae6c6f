"""Numbers that change with the steps: rates, coefficients."""

from __future__ import annotations

import itertools
from typing import Any

from shoal.errors import ConfigError


class Scheduler:
    """A number that is fixed, or [[step, number], …] with numbers between as they lie and the last one for ever.

    Parameters: `device` is where `get_current_value` puts it as a tensor; None: it is a number of Python's.

    Example: `Scheduler([[0, 1.0], [100, 0.0]]).update(timestep=50)  # 0.5`
    """

    def __init__(
        self, fixed_value_or_schedule: Any, framework: str | None = None, device: Any = None
    ) -> None:
        if framework not in (None, "torch"):
            raise ConfigError(f'framework must be "torch", not {framework!r}')
        self.validate(fixed_value_or_schedule, "fixed_value_or_schedule", "value")
        self._points = (
            [[0, fixed_value_or_schedule]]
            if isinstance(fixed_value_or_schedule, (int, float))
            else [list(point) for point in fixed_value_or_schedule]
        )
        self._device, self._as_tensor = device, framework == "torch"
        self._value = float(self._points[0][1])

    @staticmethod
    def validate(fixed_value_or_schedule: Any, setting_name: str, description: str) -> None:
        """Raise ConfigError unless it is a number, or points with steps that grow from 0 on."""
        if isinstance(fixed_value_or_schedule, (int, float)) and not isinstance(
            fixed_value_or_schedule, bool
        ):
            return
        try:
            steps = [step for step, _ in fixed_value_or_schedule]
            fine = len(steps) > 1 and steps[0] == 0 and all(a < b for a, b in itertools.pairwise(steps))
        except (TypeError, ValueError):
            fine = False
        if not fine:
            raise ConfigError(
                f"{setting_name} ({description}) must be a number or [[0, first], [step, number], …] with steps that "
                f"grow, not {fixed_value_or_schedule!r}"
            )

    def get_current_value(self) -> Any:
        """Return the number as it is now."""
        if not self._as_tensor:
            return self._value
        import torch

        return torch.tensor(self._value, device=self._device)

    def update(self, timestep: int) -> float:
        """Move to a step; return the number there."""
        before = self._points[0]
        for point in self._points:
            if point[0] > timestep:
                part = (timestep - before[0]) / (point[0] - before[0])
                self._value = float(before[1] + part * (point[1] - before[1]))
                return self._value
            before = point
        self._value = float(before[1])
        return self._value
