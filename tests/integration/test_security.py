"""A stranger on the same machine: no file to read, no socket that listens to it, nothing of its bytes unpickled."""

from __future__ import annotations

import os
import pickle
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from leftovers import eventually, processes_of

import shoal
from shoal.errors import AuthenticationFailed
from shoal.native.wire import kinds
from shoal.native.wire.handshake import ClientHandshake, ServerHandshake

pytestmark = pytest.mark.processes
SECONDS = 30


@shoal.remote
def one() -> int:
    return 1


@shoal.remote
class Host:
    def pid(self) -> int:
        return os.getpid()


def works() -> None:
    assert shoal.get([one.remote() for _ in range(20)], timeout=SECONDS) == [1] * 20


def sockets(session: Any) -> list[Path]:
    """Every socket of the session: the daemon's, the driver's, the workers'."""
    shoal.get([one.remote() for _ in range(4)], timeout=SECONDS)
    found = sorted((Path(session["session_dir"]) / "s").iterdir())
    assert len(found) >= 3
    return found


def connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(SECONDS)

    def listens() -> bool:
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:  # a worker that is just coming up
            return False
        return True

    try:
        eventually(listens, f"someone listens at {path}", SECONDS)
    except BaseException:
        sock.close()
        raise
    return sock


def frame(message: Any) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "little") + body


def read_all(sock: socket.socket) -> bytes:
    """Read until the other side closes."""
    data = b""
    try:
        while part := sock.recv(65_536):
            data += part
    except ConnectionResetError:
        return data
    return data


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_folders_and_files_are_the_owners_alone(session: Any) -> None:
    works()
    folder = Path(session["session_dir"])
    assert folder.name == session["session_name"]
    shared = [path for path in Path("/dev/shm").iterdir() if session["session_name"] in path.name]
    assert shared, "the store has a folder in shared memory"
    for inside in [folder, *(path for path in folder.rglob("*") if path.is_dir()), *shared]:
        assert stat.S_IMODE(inside.stat().st_mode) == 0o700, inside
    for name in ("token", "settings"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if path.stat().st_mode & 0o077 and path.parent == folder] == []
    for path in (folder / "logs").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in (folder / "p").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_token_is_in_no_command_line_and_no_environment(session: Any) -> None:
    works()
    token = (Path(session["session_dir"]) / "token").read_bytes()
    assert len(token) == 32
    forms = (token, token.hex().encode())
    pids = processes_of(session["session_dir"])
    assert pids
    for pid in pids:
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            assert not any(form in text for form in forms)


def test_nothing_listens_beyond_the_machine(session: Any) -> None:
    works()
    mine = {os.getpid(), *processes_of(session["session_dir"])}
    inodes = set()
    for pid in mine:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(entry)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                assert not (fields[3] == "0A" and fields[9] in inodes), "a TCP port is open"


@pytest.mark.parametrize("token", [b"", b"\x00" * 32, b"x" * 32])
def test_a_client_with_a_wrong_token_hears_nothing(session: Any, token: bytes) -> None:
    for path in sockets(session):
        with connect(path) as sock:
            client = ClientHandshake(token, os.urandom(8))
            sock.sendall(client.feed(sock.recv(40, socket.MSG_WAITALL)))
            assert read_all(sock) == b""
    works()


def test_a_pickle_bomb_before_the_handshake_is_never_opened(session: Any, tmp_path: Path) -> None:
    mark = tmp_path / "opened"
    bomb = pickle.dumps(Bomb(mark))
    stranger = os.urandom(8)
    attacks = [
        bomb,
        frame([kinds.FUNCTION, 1, bomb, {}, None]),
        frame([kinds.REGISTER, {"pid": 1, "kind": "driver"}]) + frame([kinds.EXIT]),
        frame([kinds.VALUES, [[b"o" * 20, kinds.PLAIN, bomb, None]]]),
        frame([kinds.REPLY, 1, False, bomb]),
        frame([kinds.TASKS, [[1, 1, bomb, None]]]),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bomb * 3,
    ]
    for path in sockets(session):
        for attack in attacks:
            with connect(path) as sock:
                sock.sendall(attack.ljust(200, b"\x00"))
                assert len(read_all(sock)) <= 40, "no more than the greeting"
            with connect(path) as sock:  # after a greeting that looks right, behind a proof that is wrong
                client = ClientHandshake(b"x" * 32, stranger)
                sock.sendall(client.feed(sock.recv(40, socket.MSG_WAITALL)) + attack)
                assert read_all(sock) == b""
    works()
    assert not mark.exists()


def test_a_replayed_handshake_gets_nothing(session: Any) -> None:
    folder = Path(session["session_dir"])
    token = (folder / "token").read_bytes()
    for path in sockets(session):
        with connect(path) as sock:
            client = ClientHandshake(token, os.urandom(8))
            answer = client.feed(sock.recv(40, socket.MSG_WAITALL))
            sock.sendall(answer)
            client.feed(sock.recv(40, socket.MSG_WAITALL))
            assert client.done, "the token itself is right"
        with connect(path) as sock:
            sock.recv(40, socket.MSG_WAITALL)
            sock.sendall(answer)
            assert read_all(sock) == b""
    works()


def test_someone_else_behind_the_daemons_path_is_not_believed(session: Any) -> None:
    """The client checks the server as the server checks the client."""
    server, client = ServerHandshake(b"x" * 32, b"\x00" * 8), ClientHandshake(b"t" * 32, os.urandom(8))
    client.feed(server.begin())
    with pytest.raises(AuthenticationFailed):
        client.feed(b"\x00" * 8 + b"p" * 32)
    works()


def test_half_open_connections_by_the_hundred_change_nothing(session: Any) -> None:
    host = Host.remote()
    shoal.get(host.pid.remote(), timeout=SECONDS)
    open_sockets = []
    try:
        for path in sockets(session):
            for number in range(100):
                sock = connect(path)
                open_sockets.append(sock)
                if number % 3 == 1:
                    sock.sendall(b"SHOAL\x00")  # and never the rest
                elif number % 3 == 2:
                    sock.sendall(b"S")
        works()
        assert shoal.get(host.pid.remote(), timeout=SECONDS) > 0
    finally:
        for sock in open_sockets:
            sock.close()
    works()


def test_connections_that_were_dropped_are_let_go(session: Any) -> None:
    paths = sockets(session)
    pids = {os.getpid(), *processes_of(session["session_dir"])}

    def descriptors() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids if os.path.exists(f"/proc/{pid}/fd"))

    works()
    before = descriptors()
    for _ in range(50):
        for path in paths:
            connect(path).close()
    works()
    # Workers that came up meanwhile have a few of their own; one process that kept its share would have fifty.
    eventually(lambda: descriptors() < before + 50, "every dropped connection is closed", SECONDS)


def test_a_member_that_speaks_nonsense_loses_its_connection_and_no_more(session: Any) -> None:
    """It knows the token, so it is of this session, but broken: the daemon must survive it."""
    token = (Path(session["session_dir"]) / "token").read_bytes()
    daemon = Path(session["session_dir"]) / "s" / ("0" * 16)
    for nonsense in (
        b"\x01\x00\x00\x00\xc1",
        frame([9_999]),
        frame(["text"]),
        b"\xff\xff\xff\xff",
        frame([]),
    ):
        with connect(daemon) as sock:
            client = ClientHandshake(token, os.urandom(8))
            sock.sendall(client.feed(sock.recv(40, socket.MSG_WAITALL)))
            client.feed(sock.recv(40, socket.MSG_WAITALL))
            sock.sendall(nonsense)
            assert read_all(sock) == b""
    for wrong in ([kinds.DEMAND, b"key"], [kinds.RETURN, 5], [kinds.REQUEST, 1, "no such request", []]):
        with connect(daemon) as sock:
            client = ClientHandshake(token, os.urandom(8))
            sock.sendall(client.feed(sock.recv(40, socket.MSG_WAITALL)))
            client.feed(sock.recv(40, socket.MSG_WAITALL))
            sock.sendall(frame(wrong))
    works()


def test_a_token_file_that_is_not_ours_to_read_is_an_error(tmp_path: Path) -> None:
    from shoal.errors import SystemFailure
    from shoal.native.process.session import Session

    with pytest.raises(SystemFailure, match="not the folder of a session"):
        Session.read(str(tmp_path))
