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
    waited: float = 0.0  # seconds for which the consumer waited for a block
    left_out: list[str] = attrs.field(
        factory=list
    )  # tasks that failed and were allowed to, with their errors

    def bottleneck(self) -> str:
        """Return what the execution waited for most of its time, and why.

        Where blocks were ready for most of the time it is who takes them; else the step whose tasks worked longest.
        """
        worked = [each for each in self.operators if each.tasks]
        busy = sum(each.seconds for each in worked)
        slowest = max(worked, key=lambda each: each.seconds)
        share = slowest.seconds / (busy or 1.0)
        if self.waited < 0.5 * self.seconds:
            return (
                f"the bottleneck is the consumer: for {self.seconds - self.waited:.2f} s blocks were ready or being "
                f"used; of the work, {slowest.name} did {share:.0%}"
            )
        per_block = slowest.seconds / (slowest.blocks or 1)
        return (
            f"the bottleneck is {slowest.name}: it did {share:.0%} of the work, {per_block:.3f} s for each block, "
            f"in {slowest.tasks} tasks"
        )

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
            lines.append(
                f"{self.seconds:.2f} s in all, at most {_shown(self.peak)} of blocks under way; {self.bottleneck()}"
            )
        if self.left_out:
            lines.append(
                f"{len(self.left_out)} tasks failed and were left out; the first: {self.left_out[0]}"
            )
        return "\n".join(lines) or "nothing had to be done"


def _shown(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return ""
