"""A real browser, and a session that has something to show."""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shoal

WEB = Path(__file__).resolve().parents[2] / "plugins" / "dashboard" / "web"
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
SECONDS = 20.0
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def require_browser() -> str:
    """Return where Chromium is; skip the test if there is none, except where CI is set."""
    found = shutil.which("chromium")
    if found is None or not AXE.exists():
        why = "`make browser` has not brought Chromium and the front end's packages"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


@shoal.remote(max_retries=0)
def tokenize(number: int) -> int:
    """Take a moment; some documents are broken."""
    time.sleep(random.Random(number).random() * 0.01)
    if number % 97 == 13:
        raise ValueError(f"document {number} is not UTF-8")
    return number


@shoal.remote
def embed(number: int) -> int:
    """Compute for a moment."""
    crunch(2_000)
    return number


def crunch(count: int) -> int:
    """Be busy."""
    return sum(i * i for i in range(count))


class Words:
    """An actor that prints, and that can be busy until it is told to end."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int) -> int:
        """Count and print."""
        self.total += number
        sys.stdout.write(f"the total is {self.total}\n")
        return self.total

    def spin(self, path: str) -> None:
        """Be busy until a file is there."""
        while not os.path.exists(path):
            crunch(2_000)


class Fragile:
    """An actor that dies."""

    def die(self) -> None:
        """End the process."""
        os._exit(3)


def fill(stop: str) -> list[Any]:
    """Give a session something to show; what must be kept while it is shown is returned. `stop` ends what is busy."""
    kept: list[Any] = []
    refs = [tokenize.remote(i) for i in range(200)] + [embed.remote(i) for i in range(100)]
    for ref in refs:
        try:
            shoal.get(ref, timeout=60)
        except ValueError:
            continue
    words = shoal.remote(Words).options(name="words", num_cpus=0).remote()
    shoal.get([words.add.remote(i) for i in range(30)], timeout=60)
    fragile = shoal.remote(Fragile).options(num_cpus=0).remote()
    with pytest.raises(shoal.exceptions.ActorDied):
        shoal.get(fragile.die.remote(), timeout=60)
    group = shoal.placement_group([{"CPU": 0.5}, {"CPU": 0.5}], name="pair")
    shoal.get(group.ready(), timeout=60)
    kept += [words, group, [shoal.put(os.urandom(200_000 * (i + 1))) for i in range(5)]]
    kept.append(words.spin.remote(stop))
    return kept


def until(done: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Wait for something within a bound; return it."""
    end = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found
