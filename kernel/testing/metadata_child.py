"""A second process for metadata tests: writes until it is killed, and says after each write that it was done."""

from __future__ import annotations

import sys
from importlib import import_module

from shoal.interfaces.metadata import Metadata, Write


def main(module: str, name: str, location: str) -> None:
    """Write pairs of keys, each pair in one step, and print each number when its step has returned."""
    store: Metadata = getattr(import_module(module), name)(location)
    number = 0
    while True:
        key = number.to_bytes(8, "big")
        store.apply([Write("left", key, b"x" * 1000), Write("right", key, key)])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    main(*sys.argv[1:])
