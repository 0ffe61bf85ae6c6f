"""Errors that cross processes: what user code raised there is raised here, of its own class, with its traceback.

Shoal's own verdicts (cancelled, died, lost) arrive as they are. Everything else arrives as `TaskError`; where the
user's class allows, as an instance of a class that is both a TaskError and the user's, made by `dual.py`.
"""

from __future__ import annotations

import io
import pickle
import traceback
from typing import Any

from shoal.errors import ExceptionNotSerializable, ShoalError, TaskError, _Died
from shoal.serial.dual import dual_error, has_slots

PROTOCOL = 5
# Frames of these modules say nothing about the user's program.
_OURS = (
    "shoal.api",
    "shoal.dag",
    "shoal.inline",
    "shoal.interfaces",
    "shoal.machines",
    "shoal.native",
    "shoal.onray",
    "shoal.serial",
)

_AS_IS, _TASK, _TEXT = range(3)
_LINES = 10  # that the call had printed, and how much of each
_LINE_CHARACTERS = 200


def dump_error(
    error: BaseException, function: str, process: int = 0, node: str = "", printed: str = ""
) -> bytes:
    """Return bytes from which `load_error` makes what `get` raises. Never raises.

    `function` names what was running, `process` and `node` where, `printed` is the last of what it had printed. Call it
    where the error was caught, while it still has its traceback. A TaskError that came out of a nested `get` keeps the
    user's class of the innermost error.
    """
    text = _last_lines(printed) + format_remote(error)
    if isinstance(error, _Died):
        data = _try_whole(error)
        if data is not None:
            return pickle.dumps((_AS_IS, function, text, process, node, data), PROTOCOL)
    original: BaseException | None = error
    if isinstance(error, TaskError):
        if isinstance(error, ExceptionNotSerializable) or error.original is None:
            return pickle.dumps(
                (_TEXT, function, text, process, node, isinstance(error, ExceptionNotSerializable))
            )
        original = error.original
    assert original is not None
    data = _try_whole(original)
    if data is None:
        try:
            data = _pickle(original, in_parts=True)
        except Exception as failure:  # the exception's class, arguments or attributes cannot be pickled
            text += f"\n({type(original).__name__} itself could not be pickled: {_first_line(failure)})"
            return pickle.dumps((_TEXT, function, text, process, node, True), PROTOCOL)
    return pickle.dumps((_TASK, function, text, process, node, data), PROTOCOL)


def _last_lines(printed: str) -> str:
    """Return the lines that a call has printed last as they stand above its traceback, "" if there are none."""
    lines = printed.rstrip().splitlines()[-_LINES:]
    if not lines:
        return ""
    shown = "".join(f"  | {line[:_LINE_CHARACTERS]}\n" for line in lines)
    return f"It had printed, at last:\n{shown}"


def load_error(data: bytes | memoryview) -> BaseException:
    """Return the exception to raise for what `dump_error` made. Never raises.

    A class that does not exist here, or that cannot be combined with TaskError, leaves a plain TaskError with
    `original` None or the user's exception. SystemExit, KeyboardInterrupt and the like (no subclass of Exception) are
    never raised as themselves: they would end the caller instead of telling it.
    """
    kind, function, text, process, node, rest = pickle.loads(data)
    if kind == _TEXT:
        plain = ExceptionNotSerializable if rest else TaskError
        return plain(function, text, None, process, node)
    try:
        original = pickle.loads(rest)
    except Exception as failure:  # the class is missing here, or its constructor raises
        text += f"\n(the exception's class cannot be used here: {_first_line(failure)})"
        return TaskError(function, text, None, process, node)
    if kind == _AS_IS and isinstance(original, ShoalError):
        original.__dict__["remote_traceback"] = text
        return original
    return dual_error(TaskError(function, text, original, process, node), bytes(data), load_error)


def format_remote(error: BaseException) -> str:
    """Return the traceback as text, without Shoal's own frames."""
    try:
        captured = traceback.TracebackException.from_exception(error)
        _drop_own_frames(captured, _own_files(error))
        return "".join(captured.format()).rstrip()
    except Exception as failure:  # a stranger's __str__ or __repr__ may raise anything
        return f"{type(error).__name__} (its traceback cannot be shown: {_first_line(failure)})"


def _own_files(error: BaseException) -> set[str]:
    files: set[str] = set()
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        for frame, _ in traceback.walk_tb(current.__traceback__):
            if str(frame.f_globals.get("__name__", "")).startswith(_OURS):
                files.add(frame.f_code.co_filename)
        waiting += [current.__cause__, current.__context__, *getattr(current, "exceptions", ())]
    return files


def _drop_own_frames(captured: traceback.TracebackException | None, files: set[str]) -> None:
    if captured is None or not files:
        return
    captured.stack = traceback.StackSummary.from_list(
        [frame for frame in captured.stack if frame.filename not in files]
    )
    for other in (captured.__cause__, captured.__context__, *(getattr(captured, "exceptions", None) or ())):
        _drop_own_frames(other, files)


def _pickle(error: BaseException, in_parts: bool = False) -> bytes:
    from shoal.serial.pickler import ErrorPickler, ValuePickler

    file = io.BytesIO()
    refs: list[Any] = []
    (ErrorPickler if in_parts else ValuePickler)(file, refs).dump(error)
    if refs:
        raise TypeError(f"it holds {refs[0]!r}, and an error cannot keep a reference alive")
    return file.getvalue()


def _try_whole(error: BaseException) -> bytes | None:
    """Pickle the usual way if it also loads: many exception classes pickle, and fail when they are made again."""
    if has_slots(type(error)):  # which the usual way leaves out
        return None
    try:
        data = _pickle(error)
        again = pickle.loads(data)
    except Exception:  # a stranger's class may raise anything here; the caller has another way
        return None
    return data if type(again) is type(error) else None


def _first_line(error: BaseException) -> str:
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # a stranger's __str__
        lines = []
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
