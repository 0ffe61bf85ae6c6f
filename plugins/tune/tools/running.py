"""Small helpers: slow operations, streams, tries, points to begin with."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, ClassVar

from shoal.errors import describe
from shoal.tune.tools.checks import diagnose_serialization, validate_save_restore
from shoal.tune.tools.load import UtilMonitor, wait_for_gpu
from shoal.tune.tools.mappings import deep_update, flatten_dict, merge_dicts, unflattened_lookup

__all__ = [
    "Tee",
    "UtilMonitor",
    "date_str",
    "deep_update",
    "diagnose_serialization",
    "flatten_dict",
    "merge_dicts",
    "retry_fn",
    "unflattened_lookup",
    "validate_save_restore",
    "validate_warmstart",
    "wait_for_gpu",
    "warn_if_slow",
]

log = logging.getLogger("shoal.tune")


def date_str() -> str:
    """Return the time as part of a file's name.

    Example: `date_str()  # "2024-05-01_12-30-00"`
    """
    return time.strftime("%Y-%m-%d_%H-%M-%S")


class warn_if_slow:  # noqa: N801 - the reference's name
    """Warns when a block takes long.

    Parameters: `name` is what the block does, `threshold` the seconds that are too many (0.5 by default), `message` a
    text with {name} and {duration}. With `disable` nothing is said. `too_slow` says afterwards whether it was.

    Example: `with warn_if_slow("load"): load()`
    """

    DEFAULT_THRESHOLD: ClassVar[float] = 0.5
    DEFAULT_MESSAGE: ClassVar[str] = "{name} took {duration:.3f} s, which may slow the experiment down"

    def __init__(
        self, name: str, threshold: float | None = None, message: str | None = None, disable: bool = False
    ) -> None:
        self.name = name
        self.threshold = self.DEFAULT_THRESHOLD if threshold is None else threshold
        self.message = message or self.DEFAULT_MESSAGE
        self.disable = disable
        self.too_slow = False
        self._began = 0.0

    def __enter__(self) -> warn_if_slow:
        self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        type: type[BaseException] | None,  # noqa: A002 - the reference's name
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        duration = time.perf_counter() - self._began
        if not self.disable and duration > self.threshold:
            self.too_slow = True
            log.warning(self.message.format(name=self.name, duration=duration))


class Tee:
    """A stream to write to that is two: what is written goes to both. It cannot be read.

    Example: `sys.stdout = Tee(sys.stdout, open("out.txt", "w"))`
    """

    def __init__(self, stream1: Any, stream2: Any) -> None:
        self.stream1 = stream1
        self.stream2 = stream2

    def _both(self, method: str, *args: Any, **kwargs: Any) -> Any:
        found: Any = None
        for stream in (self.stream2, self.stream1):
            # One that is closed does not keep the other from what is written.
            if not getattr(stream, "closed", False):
                found = getattr(stream, method)(*args, **kwargs)
        return found

    def write(self, *args: Any, **kwargs: Any) -> Any:
        """Write to both; return what the first returns."""
        return self._both("write", *args, **kwargs)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        """Flush both."""
        self._both("flush", *args, **kwargs)

    def seek(self, *args: Any, **kwargs: Any) -> Any:
        """Go to a place in both."""
        return self._both("seek", *args, **kwargs)

    def _first(self, name: str) -> Any:
        return (
            getattr(self.stream1, name) if hasattr(self.stream1, name) else getattr(self.stream2, name, None)
        )

    @property
    def encoding(self) -> Any:
        """The first one's encoding, or the second's."""
        return self._first("encoding")

    @property
    def error(self) -> Any:
        """What the first one does with characters that it has not, or the second."""
        return self._first("errors")

    @property
    def newlines(self) -> Any:
        """The first one's ends of lines, or the second's."""
        return self._first("newlines")

    def detach(self) -> Any:
        """Raise io.UnsupportedOperation: it has no stream below."""
        raise io.UnsupportedOperation("a Tee has two streams, none of which is below it")

    def read(self, *args: Any, **kwargs: Any) -> Any:
        """Raise io.UnsupportedOperation: it is for writing."""
        raise io.UnsupportedOperation("a Tee is for writing")

    def readline(self, *args: Any, **kwargs: Any) -> Any:
        """Raise io.UnsupportedOperation: it is for writing."""
        raise io.UnsupportedOperation("a Tee is for writing")

    def tell(self, *args: Any, **kwargs: Any) -> Any:
        """Raise io.UnsupportedOperation: its streams may be at different places."""
        raise io.UnsupportedOperation("the streams of a Tee may be at different places")


def retry_fn(
    fn: Callable[[], Any],
    exception_type: type[Exception] | Sequence[type[Exception]] = Exception,
    num_retries: int = 3,
    sleep_time: float = 1,
    timeout: float | None = None,
) -> bool:
    """Call a function until it raises nothing; return whether it did.

    Parameters: `exception_type` are the errors after which it is called again, `num_retries` how often it is called,
    `sleep_time` the seconds between, `timeout` those after which a call is given up (its thread is left to itself).
    Raises what the function raises that is no `exception_type`.

    Example: `retry_fn(lambda: upload(path), OSError)`
    """
    again = exception_type if isinstance(exception_type, type) else tuple(exception_type)
    for attempt in range(num_retries):
        found: list[BaseException | None] = []

        def call(into: list[BaseException | None] = found) -> None:
            try:
                fn()
            except BaseException as error:  # told to the caller's thread
                into.append(error)
            else:
                into.append(None)

        thread = threading.Thread(target=call, daemon=True, name="shoal-tune-retry")
        thread.start()
        thread.join(timeout)
        if found and found[0] is None:
            return True
        if found and found[0] is not None and not isinstance(found[0], again):
            raise found[0]
        log.warning("try %d of %d: %s", attempt + 1, num_retries, found[0] if found else "no end in time")
        if attempt + 1 < num_retries:
            time.sleep(sleep_time)
    return False


def validate_warmstart(
    parameter_names: Sequence[str],
    points_to_evaluate: Any,
    evaluated_rewards: Any,
    validate_point_name_lengths: bool = True,
) -> None:
    """Raise TypeError or ValueError for points to begin with, and their results, that do not fit.

    Example: `validate_warmstart(["lr"], [{"lr": 0.1}], [0.7])`
    """
    if not points_to_evaluate:
        return
    if not isinstance(points_to_evaluate, list):
        raise TypeError(f"points_to_evaluate must be a list, not {describe(points_to_evaluate)}")
    for point in points_to_evaluate:
        if not isinstance(point, (dict, list)):
            raise TypeError(f"points_to_evaluate must hold mappings or lists, not {describe(point)}")
        if validate_point_name_lengths and len(point) != len(parameter_names):
            raise ValueError(
                f"the point {point!r} has {len(point)} values, but there are {len(parameter_names)} parameters: "
                f"{', '.join(parameter_names)}"
            )
    if evaluated_rewards:
        if not isinstance(evaluated_rewards, list):
            raise TypeError(f"evaluated_rewards must be a list, not {describe(evaluated_rewards)}")
        if len(evaluated_rewards) != len(points_to_evaluate):
            raise ValueError(
                f"there are {len(evaluated_rewards)} evaluated_rewards for {len(points_to_evaluate)} points: "
                "give one for each"
            )
