"""shoal.debug: debuggers for calls on workers, and `shoal debug`, which leads to them. See docs/debugging.md."""

from __future__ import annotations

import sys

__all__ = ["set_trace"]


def set_trace(breakpoint_uuid: str | None = None) -> None:
    """Stop here until a debugger has come, by `shoal debug`, and let go on; `breakpoint()` in a task does the same.

    `breakpoint_uuid` names the breakpoint. In a program with a terminal this is `pdb.set_trace()`. Goes on if nobody
    comes within `debugger_wait_seconds`.

    Example: `set_trace("before the update")`
    """
    from shoal.debugging import stop_here

    stop_here(breakpoint_uuid or "breakpoint", sys._getframe(1))
