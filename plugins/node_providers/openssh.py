"""The OpenSSH client: commands and files on another host, with keys only, and never a question to a person."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence

import attrs

from shoal.errors import ConfigError, NodeProviderError, describe

_WHERE = re.compile(
    r"(?:([A-Za-z_][\w.-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:.%a-z]+\])(?::(\d{1,5}))?"
)
_SAID = 2_000  # characters of what a command has said last
_PUT = 'umask 077 && mkdir -p "$(dirname "$1")" && cat > "$1.new" && mv "$1.new" "$1"'


@attrs.frozen(kw_only=True)
class Host:
    """A host, and how it is reached. Who it is must stand in `known_hosts`, or in the user's own file."""

    name: str
    user: str = ""
    port: int = 22
    identity_file: str = ""
    known_hosts: str = ""
    connect_seconds: int = 10

    def command(self, words: Sequence[str], terminal: bool = False) -> list[str]:
        """Return the words that run a command there; no words: a shell. `terminal`: with this process's terminal."""
        options = {
            "BatchMode": "yes",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "StrictHostKeyChecking": "yes",
            "ConnectTimeout": str(self.connect_seconds),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
        }
        if self.known_hosts:
            options["UserKnownHostsFile"] = self.known_hosts
        if self.identity_file:
            options["IdentitiesOnly"] = "yes"
        found = ["ssh", "-t" if terminal else "-T"]
        for name, value in options.items():
            found += ["-o", f"{name}={value}"]
        if self.identity_file:
            found += ["-i", self.identity_file]
        if self.user:
            found += ["-l", self.user]
        found += ["-p", str(self.port), "--", self.name]
        # The other side's shell takes one line: every word is quoted for it.
        return [*found, shlex.join(words)] if words else found

    def run(self, words: Sequence[str], given: bytes = b"", seconds: float = 60.0) -> bytes:
        """Run a command there and return what it prints.

        Raises NodeProviderError with what it says if it fails, the host cannot be reached, or it takes too long.
        """
        doing = f"run {words[0]} on {self.name}"
        try:
            done = subprocess.run(self.command(words), input=given, capture_output=True, timeout=seconds)
        except FileNotFoundError as error:
            raise NodeProviderError(
                "ssh", doing, "there is no ssh here; install OpenSSH's client", True
            ) from error
        except subprocess.TimeoutExpired as error:
            raise NodeProviderError("ssh", doing, f"no answer within {seconds:g} s") from error
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-_SAID:]
            raise NodeProviderError("ssh", doing, said or f"it ended with status {done.returncode}")
        return done.stdout

    def put(self, data: bytes, path: str) -> None:
        """Write a file there that only its owner can read, whole or not at all. Raises NodeProviderError."""
        self.run(["sh", "-c", _PUT, "sh", path], data)


def read_host(
    where: str, text: object, user: str = "", port: int = 22, identity_file: str = "", known_hosts: str = ""
) -> Host:
    """Return the host that `user@name:port` means, of which user and port may be left out. Raises ConfigError."""
    found = _WHERE.fullmatch(str(text))
    if not isinstance(text, str) or found is None or not 0 < int(found[3] or 22) < 65536:
        raise ConfigError(f"{where} must be hosts as in 'user@host:22', not {describe(text)}")
    return Host(
        name=found[2].strip("[]"),
        user=found[1] or user,
        port=int(found[3] or port),
        identity_file=identity_file,
        known_hosts=known_hosts,
    )
