"""The backend itself. Imported only where joblib is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from joblib._parallel_backends import SequentialBackend
from joblib.parallel import AutoBatchingMixin, ParallelBackendBase

import shoal
from shoal.util.joblib.kept import give_back, lend
from shoal.util.multiprocessing import Pool


class ShoalBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's batches in a Pool. `remote_args` are options of its actors, `ray_remote_args` likewise."""

    supports_inner_max_num_threads = False
    supports_retrieve_callback = True
    supports_return_generator = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        remote_args: Mapping[str, Any] | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **options)
        self._remote_args = dict(remote_args or ray_remote_args or {})
        self._pool: Pool | None = None
        self._jobs = 1

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many processes `n_jobs` means: −1 is all CPUs of the session, −2 all but one."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None or self.nesting_level:
            return 1
        if n_jobs > 0:
            return n_jobs
        if not shoal.is_initialized():
            shoal.init()
        cpus = int(shoal.cluster_resources().get("CPU", 1))
        return max(1, cpus + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Start the processes; return how many there are."""
        jobs = self.effective_n_jobs(n_jobs)
        if jobs == 1:
            from joblib.parallel import FallbackToBackend

            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._jobs = jobs
        self._pool = lend(jobs, self._remote_args)
        return jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Any:
        """Run one batch; `callback` is told when it is over, well or not."""
        assert self._pool is not None
        return self._pool.apply_async(_call, (func,), callback=callback, error_callback=callback)

    apply_async = submit

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return a batch's results for what `callback` was given; raise what it raised."""
        if isinstance(out, BaseException):
            raise out
        return out

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """Inside a batch: one call after the other, since its process is one of many already."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def terminate(self) -> None:
        """Let the processes go: they are kept for the next call, for a while."""
        pool, self._pool = self._pool, None
        if pool is not None:
            give_back(pool, self._jobs, self._remote_args)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End the processes with what they run; start new ones if the caller goes on."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def __reduce__(self) -> Any:
        # Batches carry the backend of whoever calls; in the process that runs them there are no more processes.
        return SequentialBackend, ()


def _call(function: Callable[[], Any]) -> Any:
    return function()
