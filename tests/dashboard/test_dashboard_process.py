"""The process of the dashboard: not there until somebody looks, back when it died, gone with its session."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from asking import Asker

import shoal
from shoal.errors import ConfigError

SHOAL = str(Path(sys.executable).with_name("shoal"))
SECONDS = 20.0


def until(done: Callable[[], Any]) -> Any:
    """Wait for something within a bound; return it."""
    end = time.monotonic() + SECONDS
    while not (found := done()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def servers(folder: str) -> list[psutil.Process]:
    """The processes that serve the dashboard of a session: children of its daemon."""
    children = psutil.Process(daemon_of(folder)).children()
    return [one for one in children if "shoal.native.process.serve" in " ".join(one.cmdline())]


def daemon_of(folder: str) -> int:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(os.path.join(folder, "s", "0" * 16))
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)


def asker_of(folder: str) -> Asker:
    found = json.loads(Path(folder, "dashboard.json").read_text())
    return Asker(found["url"], found["token"])


@pytest.fixture
def session() -> Iterator[Callable[..., shoal.SessionContext]]:
    def start(**settings: Any) -> shoal.SessionContext:
        return shoal.init(num_cpus=1, **settings)

    yield start
    shoal.shutdown()


def test_a_session_that_nobody_looks_at_has_no_port_and_no_process(
    session: Callable[..., shoal.SessionContext],
) -> None:
    context = session()
    folder = context["session_dir"]
    assert not os.path.exists(os.path.join(folder, "dashboard.json"))
    assert context["webui_url"] == ""
    address = context.dashboard_url
    assert address.startswith("127.0.0.1:")
    assert context["webui_url"] == address
    assert os.stat(os.path.join(folder, "dashboard.json")).st_mode & 0o777 == 0o600
    assert servers(folder) == []  # the port is open, and nobody has come
    assert asker_of(folder).ask("/healthz").status == 200
    assert len(servers(folder)) == 1
    assert servers(folder)[0].nice() == 10
    assert context.dashboard_url == address


def test_it_ends_with_its_session(session: Callable[..., shoal.SessionContext]) -> None:
    folder = session(include_dashboard=True)["session_dir"]
    asker = asker_of(folder)
    asker.ask("/healthz")
    [server] = servers(folder)
    shoal.shutdown()
    until(lambda: not server.is_running())
    with pytest.raises(ConnectionRefusedError):
        asker.ask("/healthz")


def test_it_comes_back_when_it_was_killed(
    session: Callable[..., shoal.SessionContext],
) -> None:
    folder = session(include_dashboard=True)["session_dir"]
    asker = asker_of(folder)
    asker.ask("/healthz")
    [server] = servers(folder)
    server.send_signal(signal.SIGKILL)
    until(lambda: not server.is_running())
    assert asker.ask("/healthz").status == 200  # waited in the socket until the next one had started
    assert servers(folder)[0].pid != server.pid


def test_a_daemon_that_is_killed_leaves_no_server(session: Callable[..., shoal.SessionContext]) -> None:
    folder = session(include_dashboard=True)["session_dir"]
    asker_of(folder).ask("/healthz")
    [server] = servers(folder)
    os.kill(daemon_of(folder), signal.SIGKILL)
    until(lambda: not server.is_running())


def test_settings_are_obeyed_or_refused(session: Callable[..., shoal.SessionContext]) -> None:
    context = session(include_dashboard=False)
    assert context.dashboard_url == ""
    shoal.shutdown()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{port}"):
            session(dashboard_port=port)
    assert not shoal.is_initialized()
    context = session(dashboard_port=0)
    assert os.path.exists(os.path.join(context["session_dir"], "dashboard.json"))
    shoal.shutdown()
    with pytest.raises(ConfigError, match="have no dashboard"):
        shoal.init(engine="inline", include_dashboard=True)


def test_beyond_loopback_it_speaks_tls(session: Callable[..., shoal.SessionContext]) -> None:
    import ssl
    import urllib.request

    context = session(dashboard_host="0.0.0.0", dashboard_port=0)
    address = context.dashboard_url
    assert address.startswith("https://")
    folder = context["session_dir"]
    authority = next(Path(folder, "web_tls").glob("*ca*"))
    trusted = ssl.create_default_context(cafile=str(authority))
    port = address.rpartition(":")[2]
    with urllib.request.urlopen(
        f"https://localhost:{port}/healthz", context=trusted, timeout=SECONDS
    ) as answer:
        assert answer.read() == b"ok\n"
        assert (
            answer.headers["strict-transport-security"] is None
        )  # it would hold for the machine's other ports
    shoal.shutdown()
    with pytest.raises(ConfigError, match="tls=off"):
        session(dashboard_host="0.0.0.0", tls="off")


def test_the_command_opens_the_port_and_shows_the_token(session: Callable[..., shoal.SessionContext]) -> None:
    folder = session()["session_dir"]
    done = subprocess.run(
        [SHOAL, "dashboard", "--session", folder, "--json"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["link"] == f"{found['url']}/#token={found['token']}"
    assert Asker(found["url"], found["token"]).ask("/api/version").status == 200
    shoal.shutdown()


def test_the_pages_of_a_dead_session_are_served_until_asked_to_end(
    session: Callable[..., shoal.SessionContext],
) -> None:
    folder = session()["session_dir"]

    @shoal.remote
    def work() -> int:
        return 1

    assert shoal.get([work.remote() for _ in range(3)]) == [1, 1, 1]
    shoal.shutdown()
    command = [SHOAL, "dashboard", "--session", folder, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            text = server.stdout.readline()
            while text.count("}") < 1:
                text += server.stdout.readline()
            found = json.loads(text)
            asker = Asker(found["url"], found["token"])
            assert asker.ask("/api/version").json["session_name"] == os.path.basename(folder)
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(SECONDS) == 0


@pytest.fixture
def server_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a module in the place of the library that serves, for processes that are started from now on."""

    def put(source: str) -> None:
        (tmp_path / "uvicorn.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return put


def test_without_its_libraries_the_log_says_what_to_install(
    session: Callable[..., shoal.SessionContext], server_library: Callable[[str], None]
) -> None:
    server_library("raise ModuleNotFoundError('No module named uvicorn', name='uvicorn')")
    context = session(include_dashboard=True)
    folder = context["session_dir"]
    asker = asker_of(folder)
    with pytest.raises(OSError):  # noqa: PT011  # hung up, or refused
        asker.ask("/healthz")
    until(lambda: "cannot be served" in Path(folder, "logs", "daemon.log").read_text())
    assert "pip install 'shoal[dashboard]'" in Path(folder, "logs", "dashboard.log").read_text()
    with pytest.raises(ConnectionRefusedError):
        asker.ask("/healthz")
    assert context.dashboard_url == ""
    assert shoal.get(shoal.put(1)) == 1


@pytest.mark.slow
def test_a_service_that_always_dies_is_given_up(
    session: Callable[..., shoal.SessionContext], server_library: Callable[[str], None]
) -> None:
    server_library("import os; os._exit(1)")
    folder = session(include_dashboard=True)["session_dir"]
    asker = asker_of(folder)

    def given_up() -> bool:
        with pytest.raises(OSError):  # noqa: PT011
            asker.ask("/healthz")
        return "given up" in Path(folder, "logs", "daemon.log").read_text()

    end = time.monotonic() + 90
    while not given_up():
        assert time.monotonic() < end
    assert servers(folder) == []
