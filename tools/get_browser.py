"""Have what the dashboard's tests and its build need: Chromium, and the packages of plugins/dashboard/web.

python tools/get_browser.py        # `make browser`; quick when they are there already

Chromium is Debian's package, installed by apt where this may be done (installing it starts nothing); the packages are
those of the lock file, fetched by npm. Without them the tests that need them are skipped, except where CI is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent.parent / "plugins" / "dashboard" / "web"
SECONDS = 600


def get_chromium() -> str:
    """Install Chromium unless it is there; return why it cannot be had, "" if it is there."""
    if shutil.which("chromium"):
        return ""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return "Chromium is not here: install the package chromium"
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"]
    for step in (install, ["apt-get", "update", "-q"], install):
        done = subprocess.run(step, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL)
        if shutil.which("chromium"):
            return ""
    return f"{' '.join(install)} failed with status {done.returncode}"


def get_packages() -> str:
    """Fetch the front end's packages unless they are there; return why they cannot be had."""
    lock, made = WEB / "package-lock.json", WEB / "node_modules" / ".package-lock.json"
    if made.exists() and made.stat().st_mtime >= lock.stat().st_mtime:
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not here: install Node.js 20 or later with npm"
    done = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"],
        cwd=WEB,
        check=False,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode == 0:
        made.touch()
    return "" if done.returncode == 0 else f"npm ci failed with status {done.returncode}"


def main() -> None:
    """Get both, and say what could not be had."""
    missing = [why for why in (get_chromium(), get_packages()) if why]
    for why in missing:
        print(why)
    if missing and os.environ.get("CI"):
        sys.exit(1)


if __name__ == "__main__":
    main()
