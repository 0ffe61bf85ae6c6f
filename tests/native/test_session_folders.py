"""A session's folder: private, whole, and swept when its processes are gone."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from shoal.errors import SystemFailure
from shoal.native.process import folders, page, sweep
from shoal.native.process.folders import make_folders, remove_folders
from shoal.native.process.session import Session


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of sessions whose path is short enough for sockets. Everything in it counts as old."""
    with tempfile.TemporaryDirectory(prefix="sh") as folder:
        monkeypatch.setattr(sweep, "_YOUNG_SECONDS", -1.0)
        yield folder


def made(parent: str) -> tuple[Session, str, str]:
    name, folder, store = make_folders(parent)
    one = Session(
        name=name,
        folder=folder,
        token=os.urandom(32),
        node_id=b"n" * 8,
        job_id=b"j" * 4,
        store_folder=store,
        namespace="ns",
        driver=b"d" * 8,
        driver_pid=os.getpid(),
        path=("/a", "/b"),
        config={"num_cpus": 2},
    )
    one.write()
    return one, folder, store


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_folders_are_private_and_files_more_so(parent: str) -> None:
    old = os.umask(0)
    try:
        one, folder, store = made(parent)
    finally:
        os.umask(old)
    try:
        assert [mode(path) for path in (folder, store)] == [0o700, 0o700]
        assert {mode(os.path.join(folder, name)) for name in ("s", "p", "logs", "env", "spill")} == {0o700}
        assert [mode(os.path.join(folder, name)) for name in ("token", "settings")] == [0o600, 0o600]
        assert one.token not in Path(folder, "settings").read_bytes()
    finally:
        remove_folders(folder, store, keep_logs=False)


def test_what_is_written_is_read_again_and_the_token_is_not_printed(parent: str) -> None:
    one, folder, store = made(parent)
    try:
        read = Session.read(folder)
        assert attrs.evolve(read, path=tuple(read.path)) == one
        assert repr(one.token)[2:-1] not in repr(one)
        assert one.token.hex() not in repr(one)
    finally:
        remove_folders(folder, store, keep_logs=False)


def test_a_shared_folder_that_others_may_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    ours = tmp_path / f"shoal-{os.getuid()}"
    ours.mkdir(mode=0o755)
    ours.chmod(0o755)
    with pytest.raises(SystemFailure, match="0700"):
        folders.sessions_folder(None)
    ours.chmod(0o700)
    assert folders.sessions_folder(None) == str(ours)


def test_removing_keeps_logs_that_say_something(parent: str) -> None:
    _, folder, store = made(parent)
    Path(folder, "logs", "worker.log").write_text("last words")
    remove_folders(folder, store)
    assert os.listdir(folder) == ["logs"]
    assert not os.path.exists(store)
    remove_folders(folder, store)
    assert os.listdir(folder) == ["logs"], "a second time changes nothing"


def test_removing_leaves_nothing_of_a_silent_session(parent: str) -> None:
    _, folder, store = made(parent)
    Path(folder, "logs", "worker.log").touch()
    remove_folders(folder, store)
    assert not os.path.exists(folder)


def test_the_dead_are_swept_and_the_living_left(parent: str) -> None:
    _, living, living_store = made(parent)
    _, dead, dead_store = made(parent)
    Path(dead_store, "object").write_bytes(b"x")
    stranger = Path(parent, "not a session")
    stranger.mkdir()
    daemon = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    gone = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        daemon.bind(os.path.join(living, "s", "0" * 16))
        daemon.listen()
        gone.bind(os.path.join(dead, "s", "0" * 16))
        gone.close()  # killed: the socket's file is still there
        sweep.sweep_old_sessions(parent)
        assert os.path.exists(os.path.join(living, "token"))
        assert os.path.isdir(living_store)
        assert not os.path.exists(dead)
        assert not os.path.exists(dead_store)
        assert stranger.exists(), "what is no session is not ours"
    finally:
        daemon.close()
        gone.close()
        remove_folders(living, living_store, keep_logs=False)


def test_sessions_of_another_folder_are_left_alone(parent: str) -> None:
    with tempfile.TemporaryDirectory(prefix="sh") as elsewhere:
        _, folder, store = made(elsewhere)
        try:
            sweep.sweep_old_sessions(parent)
            assert os.path.isdir(store), (
                "its objects go with the session, whoever starts one with another temp_dir"
            )
        finally:
            remove_folders(folder, store, keep_logs=False)


def test_a_daemon_too_busy_to_answer_is_alive(parent: str) -> None:
    _, folder, store = made(parent)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.bind(os.path.join(folder, "s", "0" * 16))
        daemon.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as first:
            first.connect(daemon.getsockname())  # the queue of those who wait to be accepted is full
            sweep.sweep_old_sessions(parent)
        assert os.path.isdir(store)
    remove_folders(folder, store, keep_logs=False)


def test_a_session_that_is_just_starting_is_left_alone(parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_YOUNG_SECONDS", 60.0)
    _, folder, store = made(parent)
    try:
        sweep.sweep_old_sessions(parent)
        assert os.path.exists(os.path.join(folder, "token"))
        assert os.path.isdir(store)
    finally:
        remove_folders(folder, store, keep_logs=False)


def test_logs_of_the_dead_are_kept_up_to_a_number(parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_LOGS_KEPT", 2)
    folders = []
    for number in range(4):
        _, folder, store = made(parent)
        Path(folder, "logs", "worker.log").write_text("words")
        remove_folders(folder, store)
        newer = os.path.join(parent, f"session_2020-01-01_00-00-0{number}_1_aaaa")
        os.rename(folder, newer)
        folders.append(newer)
    sweep.sweep_old_sessions(parent)
    assert [os.path.exists(folder) for folder in folders] == [False, False, True, True]


# The page of a worker


def test_a_page_says_what_runs_even_when_its_process_is_gone(parent: str) -> None:
    path = os.path.join(parent, "page")
    mapped = page.create(path)
    assert mode(path) == 0o600
    assert page.read(path) == (0, "")
    mapped[0:8] = (77).to_bytes(8, "little")
    page.write_name(mapped, "module.function")
    mapped.close()
    assert page.read(path) == (77, "module.function")


@pytest.mark.parametrize("name", ["", "f", "ü" * 300, "x" * 5_000])
def test_any_name_fits_a_page(parent: str, name: str) -> None:
    path = os.path.join(parent, "page")
    mapped = page.create(path)
    page.write_name(mapped, "a name that was longer than the next")
    page.write_name(mapped, name)
    mapped.close()
    _, read = page.read(path)
    assert read == name or (len(name) > 100 and name.startswith(read.rstrip("\ufffd")) and len(read) >= 100)


def test_a_page_that_is_not_there_says_nothing(parent: str) -> None:
    assert page.read(os.path.join(parent, "nowhere")) == (0, "")
    short = Path(parent, "short")
    short.write_bytes(b"123")
    assert page.read(str(short)) == (0, "")
