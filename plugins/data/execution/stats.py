"""What an execution did, operator by operator."""

from __future__ import annotations

import attrs


@attrs.define
class OperatorStats:
    """What one operator did.

    Parameters: `seconds` are those that its tasks worked, all added up; `began` and `ended` are seconds since the
    execution began.
    """

    name: str
    tasks: int = 0
    blocks: int = 0
    rows: int = 0
    size: int = 0
    seconds: float = 0.0
    began: float | None = None
    ended: float = 0.0


@attrs.define
class ExecutionStats:
    """What an execution did: its operators, how long it took (seconds), and the most bytes of blocks that waited."""

    operators: list[OperatorStats]
    seconds: float = 0.0
    peak: float = 0.0

    def text(self) -> str:
        """Return it for a person, with the operator that worked longest named last."""
        lines = []
        worked = [each for each in self.operators if each.tasks]
        for number, each in enumerate(worked):
            wall = each.ended - (each.began or 0.0)
            lines.append(
                f"{number + 1} {each.name}: {each.tasks} tasks, {each.blocks} blocks, {each.rows} rows, "
                f"{_shown(each.size)}; {each.seconds:.2f} s of work in {wall:.2f} s"
            )
        if worked:
            slowest = max(worked, key=lambda each: each.seconds)
            total = sum(each.seconds for each in worked) or 1.0
            lines.append(
                f"{self.seconds:.2f} s in all, at most {_shown(self.peak)} of blocks under way; "
                f"{slowest.name} did {slowest.seconds / total:.0%} of the work"
            )
        return "\n".join(lines) or "nothing had to be done"


def _shown(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return ""
