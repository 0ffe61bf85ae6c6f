"""Where the head of a cluster lives: on this machine, or on one that is reached by OpenSSH."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import attrs

from shoal.autoscaler.loop import check_cluster
from shoal.autoscaler.spec import ClusterSpec
from shoal.errors import ConfigError, NodeProviderError, ShoalError
from shoal.interfaces.nodes import GONE, NodeStart
from shoal.node_providers.openssh import Host
from shoal.scaling import end_machines, link_to, load_nodes

_START_SECONDS = 300.0
# In the home's folder: the cluster's file, and what the head has said when it came up
_FILE, _HEAD = "cluster", "head.json"


@attrs.frozen(kw_only=True)
class HeadInfo:
    """A head that was started."""

    address: str  # host:port
    node_id: str
    folder: str  # of its session


class Home(ABC):
    """What `shoal up`, `down`, `attach`, `exec` and `submit` do, where the head is."""

    def __init__(self, spec: ClusterSpec) -> None:
        self.spec = spec

    @abstractmethod
    def up(self) -> tuple[HeadInfo, bool]:
        """Start the head, or let the one that lives take over the file; return it, and whether it is new.

        Raises ConfigError, NodeProviderError.
        """

    @abstractmethod
    def down(self, workers_only: bool, keep_least: bool) -> int:
        """End the head and all machines; return how many machines there were. Raises NodeProviderError."""

    @abstractmethod
    def head(self) -> HeadInfo:
        """Return the head. Raises ConfigError if the cluster is not up."""

    @abstractmethod
    def run(self, words: Sequence[str], terminal: bool = False) -> int:
        """Run a command beside the head, as a program of the cluster; return its exit status."""

    @abstractmethod
    def output(self, words: Sequence[str]) -> bytes:
        """Run such a command and return what it prints. Raises NodeProviderError if it fails."""

    @abstractmethod
    def bring(self, path: str) -> str:
        """Return the path beside the head of a copy of a file of this machine."""

    def variables(self) -> dict[str, str]:
        """Return the variables by which a program beside the head finds the cluster."""
        head = self.head()
        return {"SHOAL_ADDRESS": head.address, "SHOAL_TEMP_DIR": os.path.dirname(head.folder)}


class LocalHome(Home):
    """The head on this machine."""

    @property
    def folder(self) -> str:
        """The folder of the cluster's credentials and files."""
        return os.path.expanduser(self.spec.head.folder or f"~/.shoal/{self.spec.name}")

    def up(self) -> tuple[HeadInfo, bool]:
        spec, head = self.spec, self.spec.head
        check_cluster(spec.path, lambda spec: NodeStart(head_address="", credentials_file=""))
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        kept = os.path.join(self.folder, _FILE + os.path.splitext(spec.path)[1])
        if os.path.realpath(spec.path) != os.path.realpath(kept):
            with open(spec.path, "rb") as file:
                _write(kept, file.read())
        living = self._living()
        if living is not None:
            return living, False
        for command in spec.setup_commands:
            done = subprocess.run(
                ["sh", "-c", command], capture_output=True, timeout=_START_SECONDS, text=True
            )
            if done.returncode:
                raise ConfigError(
                    f"the setup command {command!r} failed: {(done.stderr or done.stdout).strip()[-2000:]}"
                )
        settings: dict[str, Any] = {"autoscaling": kept, "resources": dict(head.resources), **head.settings}
        for name in ("num_cpus", "num_gpus"):
            if getattr(head, name) is not None:
                settings[name] = getattr(head, name)
        words = ["start", "--head", "--json", "--port", str(head.port)]
        words += ["--credentials", os.path.join(self.folder, "credentials")]
        if head.address:
            words += ["--host", head.address]
        for name, value in settings.items():
            words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        said = _shoal(words)
        found = json.loads(said)
        info = HeadInfo(address=found["head_address"], node_id=found["node_id"], folder=found["folder"])
        _write(os.path.join(self.folder, _HEAD), json.dumps(attrs.asdict(info)).encode())
        return info, True

    def _kept(self) -> HeadInfo | None:
        try:
            with open(os.path.join(self.folder, _HEAD), encoding="utf-8") as file:
                return HeadInfo(**json.load(file))
        except (OSError, ValueError, TypeError):
            return None

    def _living(self) -> HeadInfo | None:
        """Return the head if it answers."""
        info = self._kept()
        if info is None or not os.path.isdir(info.folder):
            return None
        try:
            link = link_to(info.address, os.path.dirname(info.folder))
        except ShoalError:
            return None
        try:
            link.told()
        except ShoalError:
            return None
        finally:
            link.close()
        return info

    def head(self) -> HeadInfo:
        info = self._living()
        if info is None:
            raise ConfigError(f"the cluster {self.spec.name!r} is not up; start it with `shoal up`")
        return info

    def down(self, workers_only: bool, keep_least: bool) -> int:
        spec = self.spec
        living = self._living()
        if living is not None and not workers_only:
            # First: its autoscaler would replace what ends.
            _shoal(["stop", "--json", "--node", living.node_id, "--temp-dir", os.path.dirname(living.folder)])
        start = NodeStart(head_address="", credentials_file=os.path.join(self.folder, "credentials"))
        provider = load_nodes(spec.provider, spec.name, start, spec.provider_options)
        try:
            if not keep_least:
                ended = end_machines(provider)
            else:
                ended = _end_but_least(provider.machines(), spec, provider.terminate)
        finally:
            provider.close()
        if not workers_only:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.folder, _HEAD))
        return ended

    def run(self, words: Sequence[str], terminal: bool = False) -> int:
        chosen = list(words) or [os.environ.get("SHELL", "/bin/sh")]
        try:
            return subprocess.run(chosen, env=self._environment()).returncode
        except OSError as error:
            raise ConfigError(f"{chosen[0]} cannot be run: {error.strerror}") from error

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
        return {**os.environ, **self.variables(), "PATH": path}

    def output(self, words: Sequence[str]) -> bytes:
        done = subprocess.run(list(words), env=self._environment(), capture_output=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-2000:]
            raise NodeProviderError(
                "local", f"run {words[0]}", said or f"it ended with status {done.returncode}"
            )
        return done.stdout

    def bring(self, path: str) -> str:
        return os.path.abspath(path)


class SshHome(Home):
    """The head on another machine, which has shoal."""

    def __init__(self, spec: ClusterSpec) -> None:
        super().__init__(spec)
        head = spec.head
        self.host: Host = Host(
            name=head.host,
            user=head.user,
            port=head.ssh_port,
            identity_file=head.identity_file,
            known_hosts=head.known_hosts,
        )

    @property
    def folder(self) -> str:
        """The folder there; one that begins with no slash is below the user's own."""
        return (self.spec.head.folder or f".shoal/{self.spec.name}").removeprefix("~/")

    def _file(self) -> str:
        return f"{self.folder}/{_FILE}{os.path.splitext(self.spec.path)[1]}"

    def _shoal(self, words: Sequence[str]) -> Any:
        command = [self.spec.head.python, "-m", "shoal.cli.main", *words]
        return json.loads(self.host.run(command, seconds=_START_SECONDS))

    def up(self) -> tuple[HeadInfo, bool]:
        with open(self.spec.path, "rb") as file:
            self.host.put(file.read(), self._file())
        found = self._shoal(["up", "--here", "--json", self._file()])
        head = HeadInfo(**{field.name: found[field.name] for field in attrs.fields(HeadInfo)})
        return head, bool(found["started"])

    def down(self, workers_only: bool, keep_least: bool) -> int:
        with open(self.spec.path, "rb") as file:
            self.host.put(file.read(), self._file())
        more = ["--workers-only"] * workers_only + ["--keep-min"] * keep_least
        found = self._shoal(["down", "--here", "--json", *more, self._file()])
        return int(found["machines"])

    def head(self) -> HeadInfo:
        try:
            found = json.loads(self.host.run(["cat", f"{self.folder}/{_HEAD}"]))
        except NodeProviderError as error:
            raise ConfigError(
                f"the cluster {self.spec.name!r} is not up on {self.host.name}: {error.why}"
            ) from error
        return HeadInfo(**found)

    def _words(self, words: Sequence[str]) -> list[str]:
        chosen = list(words) or ["sh", "-c", 'exec "${SHELL:-/bin/sh}" -l']
        variables = [f"{name}={value}" for name, value in self.variables().items()]
        # `shoal` is where that Python is.
        folder = os.path.dirname(self.spec.head.python)
        path = (
            ["sh", "-c", 'PATH="$1:$PATH" && export PATH && shift && exec "$@"', "sh", folder]
            if folder
            else []
        )
        return ["env", *variables, *path, *chosen]

    def run(self, words: Sequence[str], terminal: bool = False) -> int:
        return subprocess.run(self.host.command(self._words(words), terminal)).returncode

    def output(self, words: Sequence[str]) -> bytes:
        return self.host.run(self._words(words), seconds=_START_SECONDS)

    def bring(self, path: str) -> str:
        target = f"{self.folder}/submitted/{os.urandom(4).hex()}/{os.path.basename(path)}"
        with open(path, "rb") as file:
            self.host.put(file.read(), target)
        return target


def home_of(spec: ClusterSpec, here: bool = False) -> Home:
    """Return where a cluster's head lives, or is to live; `here`: on this machine, whatever the file says."""
    return LocalHome(spec) if here or not spec.head.host else SshHome(spec)


def _end_but_least(machines: Sequence[Any], spec: ClusterSpec, terminate: Any) -> int:
    kept: dict[str, int] = {}
    ended = []
    for machine in machines:
        if machine.state == GONE:
            continue
        least = spec.types[machine.node_type].least if machine.node_type in spec.types else 0
        if kept.get(machine.node_type, 0) < least:
            kept[machine.node_type] = kept.get(machine.node_type, 0) + 1
        else:
            ended.append(machine.machine_id)
    terminate(ended)
    return len(ended)


def _shoal(words: Sequence[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "shoal.cli.main", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().removeprefix("Error: ")
        raise ConfigError(f"`shoal {words[0]}` failed: {said}")
    return done.stdout


def _write(path: str, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    os.rename(path + ".new", path)
