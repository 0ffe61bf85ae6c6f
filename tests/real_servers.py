"""Redis, etcd and sshd as processes on loopback, each in its own folder: tests start, kill and start them again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

SERVERS = Path(__file__).resolve().parents[1] / ".servers"
UNPACKED = SERVERS / "root" / "usr"
SECONDS_TO_START = 30
STARTS = 5


def program(name: str) -> str:
    """Return the path of a server's program; skip the test if there is none, except where CI is set."""
    folders = [str(UNPACKED / folder) for folder in ("bin", "sbin")] + [str(SERVERS / "python" / "bin")]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", *folders])
    found = shutil.which(name, path=path)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"there is no {name} here; `make servers` gets it"
        )
    return found


def free_ports(count: int) -> list[int]:
    """Return ports that are free now. Another process may take one before the server does; `start` tries others."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class RealServer:
    """One server process. It keeps its port and its folder when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Return the command that runs the server on `self.port`."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        for _ in range(1 if self.port else STARTS):
            again = bool(self.port)
            if not again:
                self.choose_ports()
            self.launch()
            if self.wait_until_up():
                return
            self.stop()
            if not again:
                self.port = 0
        pytest.fail(f"{self.command()[0]} does not start:\n{(self.folder / 'log').read_text()[-2000:]}")

    def choose_ports(self) -> None:
        [self.port] = free_ports(1)

    def launch(self) -> None:
        libraries = [str(path) for path in (UNPACKED / "lib").glob("*-linux-gnu")]
        environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.folder,
            )

    def wait_until_up(self) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.answers():
                return True
            time.sleep(0.02)
        return False

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it live, and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


class Redis(RealServer):
    """Redis with its append-only file flushed at each write: what it promised survives its own death too."""

    def __init__(self, folder: Path, *more: str, tls: bool = False) -> None:
        super().__init__(folder)
        self._program = program("redis-server")
        self._more = more
        self._tls = tls

    def command(self) -> Sequence[str]:
        listen = ["--port", "0", "--tls-port", str(self.port)] if self._tls else ["--port", str(self.port)]
        kept = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        here = ["--bind", "127.0.0.1", "--dir", str(self.folder), "--daemonize", "no"]
        return [self._program, *listen, *here, *kept, *self._more]

    def url(self, prefix: str = "shoal") -> str:
        """Return the location of a store there."""
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}/0?prefix={prefix}"


class Etcd(RealServer):
    """One member of an etcd cluster, by default the only one."""

    def __init__(self, folder: Path, name: str = "one", *more: str, scheme: str = "http") -> None:
        super().__init__(folder)
        self._program = program("etcd")
        self._more = more
        self._scheme = scheme
        self.name = name
        self.peer_port = 0
        self.members: Sequence[Etcd] = (self,)

    def choose_ports(self) -> None:
        self.port, self.peer_port = free_ports(2)

    def command(self) -> Sequence[str]:
        client, peer = f"{self._scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer_port}"
        cluster = ",".join(f"{one.name}=http://127.0.0.1:{one.peer_port}" for one in self.members)
        words = {
            "name": self.name,
            "data-dir": str(self.folder / "data"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
        }
        return [self._program, *(f"--{name}={value}" for name, value in words.items()), *self._more]

    def url(self, prefix: str = "shoal") -> str:
        """Return the location of a store there."""
        scheme = "etcds" if self._scheme == "https" else "etcd"
        return f"{scheme}://127.0.0.1:{self.port}?prefix={prefix}"


class Mongo(RealServer):
    """SecantusDB: a server of MongoDB's protocol, with its data in the folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._program = program("secantusd-py")

    def command(self) -> Sequence[str]:
        listen = ["--host", "127.0.0.1", "--port", str(self.port), "--standalone"]
        return [self._program, *listen, "--storage-path", str(self.folder / "data")]

    def url(self) -> str:
        """Return where clients find it."""
        return f"mongodb://127.0.0.1:{self.port}"


class Sshd(RealServer):
    """OpenSSH's server, which takes this user with one key and nothing else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._program = program("sshd")
        program("ssh")
        keygen = program("ssh-keygen")
        self.identity = folder / "identity"
        for path in (self.identity, folder / "host_key"):
            subprocess.run(
                [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(path)],
                check=True,
                stdin=subprocess.DEVNULL,
            )
        authorized = folder / "authorized_keys"
        authorized.write_text((folder / "identity.pub").read_text())
        authorized.chmod(0o600)
        self.known_hosts = folder / "known_hosts"

    def command(self) -> Sequence[str]:
        key = " ".join((self.folder / "host_key.pub").read_text().split()[:2])
        names = ("127.0.0.1", "localhost")
        self.known_hosts.write_text("".join(f"[{name}]:{self.port} {key}\n" for name in names))
        settings = {
            "Port": str(self.port),
            "ListenAddress": "127.0.0.1",
            "HostKey": str(self.folder / "host_key"),
            "AuthorizedKeysFile": str(self.folder / "authorized_keys"),
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PubkeyAuthentication": "yes",
            "PermitRootLogin": "prohibit-password",
            "StrictModes": "no",  # the folders of tests belong to whom they belong to
            "UsePAM": "no",
            "PidFile": "none",
            "MaxStartups": "100",
        }
        config = self.folder / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        serve = [self._program, "-D", "-e", "-f", str(config)]
        if os.getuid():
            return serve
        # As root it wants a user and a folder of its own, which an unpacked package has not made: it gets them in a
        # namespace, so that the machine stays as it is.
        passwd = self.folder / "passwd"
        lines = Path("/etc/passwd").read_text()
        if "\nsshd:" not in lines:
            lines += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
        passwd.write_text(lines)
        steps = f'mount --bind {passwd} /etc/passwd && mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", steps, "sh", *serve]


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """Run a real S3 server over HTTP; gives its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
