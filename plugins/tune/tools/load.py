"""How busy this machine and its GPUs are."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any

from shoal.errors import ConfigError

__all__ = ["UtilMonitor", "wait_for_gpu"]

_ASK_SECONDS = 5.0  # nvidia-smi hangs on a machine whose driver does
_MOST_SAMPLES = 100_000


def _gpus() -> list[tuple[str, str, float, float]]:
    """Return index, identifier, and the shares of time and memory that are used, of each GPU; none without a driver."""
    query = "--query-gpu=index,uuid,utilization.gpu,memory.used,memory.total"
    try:
        answer = subprocess.run(
            ["nvidia-smi", query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_ASK_SECONDS,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in answer.splitlines():
        fields = [field.strip() for field in line.split(",")]
        try:
            busy, used, total = map(float, fields[2:5])
        except ValueError:  # of a device that does not tell, or a message
            continue
        found.append((fields[0], fields[1], busy / 100, used / total if total else 0.0))
    return found


class UtilMonitor(threading.Thread):
    """Samples how busy the processors, the memory and the GPUs of this machine are, in a thread. Needs psutil.

    Parameters: with `start` it begins at once; `delay` are the seconds between samples. End it with `stop()`.
    Raises ConfigError without psutil.

    Example: `monitor = UtilMonitor(); …; monitor.get_data(); monitor.stop()`
    """

    def __init__(self, start: bool = True, delay: float = 0.7) -> None:
        try:
            import psutil
        except ImportError as error:
            raise ConfigError("UtilMonitor needs the package psutil: pip install psutil") from error
        super().__init__(name="shoal-tune-load", daemon=True)
        self.delay = delay
        self._psutil: Any = psutil
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._values: dict[str, list[float]] = {}
        if start:
            self.start()

    def _sample(self) -> None:
        now = {
            "cpu_util_percent": float(self._psutil.cpu_percent(interval=None)),
            "ram_util_percent": float(self._psutil.virtual_memory().percent),
        }
        for index, _, busy, used in _gpus():
            now[f"gpu_util_percent{index}"] = busy
            now[f"vram_util_percent{index}"] = used
        with self._lock:
            for name, value in now.items():
                values = self._values.setdefault(f"perf/{name}", [])
                values.append(value)
                del values[:-_MOST_SAMPLES]

    def get_data(self) -> dict[str, float]:
        """Return the means since the last time that this was called."""
        with self._lock:
            values, self._values = self._values, {}
        return {name: sum(each) / len(each) for name, each in values.items()}

    def run(self) -> None:
        """Sample until `stop` is called."""
        while not self._stopped.wait(self.delay):
            self._sample()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(_ASK_SECONDS + self.delay)


def wait_for_gpu(
    gpu_id: int | str | None = None,
    target_util: float = 0.01,
    retry: int = 20,
    delay_s: float = 5,
    gpu_memory_limit: float | None = None,
) -> bool:
    """Wait until the memory of a GPU is free: after a trial before may still hold it. Return True.

    Parameters: `gpu_id` is an index or an identifier (by default the trial's first), `target_util` the share of its
    memory that may be used (`gpu_memory_limit` is another name for it), `retry` how often to look, `delay_s` the
    seconds between.
    Raises ConfigError if there is no such GPU, RuntimeError if it stays in use.

    Example: `wait_for_gpu()  # at the begin of a trainable`
    """
    bound = target_util if gpu_memory_limit is None else gpu_memory_limit
    if gpu_id is None:
        import shoal

        mine: Sequence[Any] = shoal.get_gpu_ids()
        if not mine:
            raise ConfigError("wait_for_gpu() needs gpu_id where the trial has no GPU of its own")
        gpu_id = str(mine[0])
    used = 0.0
    for attempt in range(max(retry, 1)):
        devices = _gpus()
        having = [share for index, uuid, _, share in devices if str(gpu_id) in (index, uuid)]
        if not having:
            raise ConfigError(
                f"this machine has no GPU {gpu_id!r}; it has {', '.join(index for index, *_ in devices) or 'none'}"
            )
        used = having[0]
        if used <= bound:
            return True
        if attempt + 1 < retry:
            time.sleep(delay_s)
    raise RuntimeError(f"GPU {gpu_id}: {used:.0%} of its memory is still used, more than {bound:.0%}")
