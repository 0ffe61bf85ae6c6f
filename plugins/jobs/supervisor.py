"""The actor that runs one job's command, on the node and in the environment that the job asked for.

It is detached: the job goes on whoever asked for it is gone, and while the head is away. Its own thread runs the
command through the guardian, writes its log, and tells the job table what becomes of it; then the actor ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

import shoal
from shoal.jobs import guardian, table
from shoal.jobs.output import JobOutput, read_output
from shoal.jobs.records import JobErrorType, JobStatus

NAMESPACE = "shoal.jobs"
_CHUNK = 1 << 16
_TELL_SECONDS = 60.0  # how long the job table may be out of reach at the end of a job
_DRAIN_SECONDS = 5.0
_log = logging.getLogger("shoal")


def supervisor_name(submission_id: str) -> str:
    """Return the name of a job's actor, in the namespace of jobs."""
    return f"supervisor:{submission_id}"


class JobSupervisor:
    """Runs one command. `grace` are the seconds between SIGTERM and SIGKILL, `log_bytes` bound the log."""

    def __init__(
        self,
        submission_id: str,
        words: Sequence[str],
        variables: Mapping[str, str],
        grace: float,
        log_bytes: int,
    ) -> None:
        self._submission_id = submission_id
        self._words = list(words)
        self._variables = dict(variables)
        self._grace = grace
        engine = table.engine()
        folder = os.path.join(engine.context().session_folder, "logs")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._output = JobOutput(folder, submission_id, log_bytes)
        self._stop = threading.Event()
        self._over = threading.Event()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name="shoal-job", daemon=True).start()

    def stop(self) -> bool:
        """Stop the command; return whether it was running. Does not wait for its end."""
        with self._lock:
            if self._over.is_set():
                return False
            self._stop.set()
            running = self._guardian
        if running is not None and running.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended just now
                running.stdin.close()
        return True

    def read_log(self, position: int, size: int) -> tuple[int, bytes, bool]:
        """Return bytes of the log, the position where they begin, and whether more may come."""
        over = self._over.is_set()  # before reading: what came before the end is still read
        position, data = read_output(self._output.path, position, size, self._output.start)
        return position, data, not over

    def _run(self) -> None:
        try:
            ended = self._supervise()
        except Exception as error:  # nobody else would ever tell
            _log.exception("the supervisor of job %r failed", self._submission_id)
            ended = {
                "status": JobStatus.FAILED,
                "error_type": JobErrorType.JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE,
                "message": f"the job's supervisor failed: {type(error).__name__}: {error}",
            }
        self._output.close()
        self._tell(end_time=_now(), log_start=self._output.start, **ended)
        self._over.set()
        with contextlib.suppress(Exception):
            shoal.kill(shoal.get_runtime_context().current_actor)

    def _supervise(self) -> dict[str, Any]:
        """Run the command to its end; return what is to be told of that."""
        if self._stop.is_set():
            return {"status": JobStatus.STOPPED, "message": "The job was stopped before its command began."}
        command = [sys.executable, "-I", guardian.__file__, str(self._grace), *self._words]
        reading, writing = os.pipe()
        try:
            with self._lock:
                running = self._guardian = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=writing,
                    env=self._environment(),
                    cwd=self._folder(),
                )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        pump = threading.Thread(target=self._pump, args=(reading,), name="shoal-job-log", daemon=True)
        pump.start()
        facts: dict[str, Any] = {}
        with running:
            assert running.stdout is not None
            for line in running.stdout:
                facts.update(json.loads(line))
                if "pid" in facts and "exit" not in facts:
                    if self._stop.is_set():  # asked for between the check above and the start
                        self.stop()
                    self._tell(
                        status=JobStatus.RUNNING,
                        message="The job runs.",
                        start_time=_now(),
                        driver_node_id=table.engine().context().node_id.hex(),
                    )
        pump.join(_DRAIN_SECONDS)
        return self._ending(facts)

    def _ending(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        if "error" in facts:
            message = f"the command {self._words[0]!r} could not be started: {facts['error']}"
            return {
                "status": JobStatus.FAILED,
                "error_type": JobErrorType.JOB_ENTRYPOINT_COMMAND_START_ERROR,
                "message": message,
            }
        if facts.get("stopped") or self._stop.is_set():
            return {
                "status": JobStatus.STOPPED,
                "message": "The job was stopped.",
                "driver_exit_code": facts.get("exit"),
            }
        code = facts.get("exit")
        if code == 0:
            left = facts.get("left", 0)
            also = f" What it had left behind was ended: {left} of its processes." if left else ""
            return {
                "status": JobStatus.SUCCEEDED,
                "message": f"The job has finished.{also}",
                "driver_exit_code": 0,
            }
        if code is None:
            how = "ended without telling how: its guardian was killed"
        elif code < 0:
            how = f"was ended by signal {-code}"
        else:
            how = f"ended with exit code {code}"
        last = read_output(
            self._output.path,
            max(self._output.start, self._output.end - 4_000),
            4_000,
            self._output.start,
        )[1]
        lines = last.decode(errors="replace").splitlines()[-20:]
        shown = "\n".join(lines)
        return {
            "status": JobStatus.FAILED,
            "error_type": JobErrorType.JOB_ENTRYPOINT_COMMAND_ERROR,
            "message": f"the command {how}\nThe last lines of its log:\n{shown}",
            "driver_exit_code": code,
        }

    def _pump(self, reading: int) -> None:
        with open(reading, "rb", buffering=0) as pipe:
            while data := pipe.read(_CHUNK):
                self._output.write(data)

    def _folder(self) -> str | None:
        """Return where the command runs: in its working_dir, or like a person who has just logged in."""
        has_own = "working_dir" in table.engine().context().runtime_env
        return None if has_own else os.path.expanduser("~")

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, **self._variables}
        context = table.engine().context()
        environment["SHOAL_ADDRESS"] = context.address
        if context.runtime_env:
            # In its canonical form: the job's own tasks use the packages that were unpacked for it.
            environment["SHOAL_RUNTIME_ENV"] = json.dumps(dict(context.runtime_env))
        # `python` is then the one of the job's environment.
        environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
        environment["PYTHONUNBUFFERED"] = environment.get("PYTHONUNBUFFERED", "1")
        return environment

    def _tell(self, **changes: Any) -> None:
        """Change the job's record; the head may be away for a moment."""
        end = time.monotonic() + _TELL_SECONDS
        while True:
            try:
                info = table.find(self._submission_id)
                if info is not None and not info.status.is_terminal():
                    table.store(self._submission_id, attrs.evolve(info, **changes))
                return
            except Exception:
                if time.monotonic() > end:
                    _log.exception("job %r could not tell how it stands", self._submission_id)
                    return
                self._over.wait(0.2)


def _now() -> int:
    return int(time.time() * 1_000)
