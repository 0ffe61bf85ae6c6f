"""The check for what is left behind sees each kind of thing, and only that."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import threading

import pytest

from shoal.testing import leaks

# Other tests run meanwhile, and their sessions use shared memory too: only files with our prefix count.
PREFIX = f"shoal-leak-test-{os.getpid()}-"
no_leaks = functools.partial(leaks.no_leaks, shared_prefix=PREFIX)
FOREVER = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]


def test_what_ends_in_time_is_no_leak() -> None:
    with no_leaks(seconds=0):
        descriptor = os.open("/dev/null", os.O_RDONLY)
        os.close(descriptor)
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        subprocess.run([sys.executable, "-c", ""], check=True)


def test_a_thread_that_is_about_to_end_is_waited_for() -> None:
    checking = threading.Event()
    thread = threading.Thread(target=checking.wait)
    with no_leaks():
        thread.start()
        threading.Timer(0.05, checking.set).start()


def test_a_process_is_named_with_its_command() -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen(FOREVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert started[0].stdout is not None
        started[0].stdout.readline()  # a process has no command yet for a moment after exec

    with pytest.raises(AssertionError, match=r"process \d+: .*stdin\.read"), no_leaks(seconds=0):
        start()
    started[0].communicate()


def test_a_process_s_own_children_count() -> None:
    code = f"import subprocess, sys; subprocess.Popen({FOREVER!r}); print(flush=True); sys.stdin.read()"
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(
            subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        assert started[0].stdout is not None
        started[0].stdout.readline()

    with pytest.raises(AssertionError) as caught, no_leaks(seconds=0):
        start()
    assert str(caught.value).count("process ") >= 2
    started[0].communicate()


def test_a_thread_is_named() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="left-over")
    with pytest.raises(AssertionError, match="thread left-over"), no_leaks(seconds=0):
        thread.start()
    end.set()
    thread.join()


def test_a_descriptor_is_named_with_its_file() -> None:
    with pytest.raises(AssertionError, match=r"descriptor .*/dev/null"), no_leaks(seconds=0):
        descriptor = os.open("/dev/null", os.O_RDONLY)
    os.close(descriptor)


def test_a_file_in_shared_memory_is_named() -> None:
    paths: list[str] = []

    def leave() -> None:
        file, path = tempfile.mkstemp(prefix=PREFIX, dir="/dev/shm")
        os.close(file)
        paths.append(path)

    left = pytest.raises(AssertionError, match=f"file /dev/shm/{PREFIX}")
    with left, no_leaks(seconds=0):
        leave()
    os.unlink(paths[0])
