"""Is everything that a user can touch typed, so that no two type checkers see different types in it?

basedpyright's --verifytypes looks at every module. This asks it, and keeps what it says of the public ones: the names
of `shoal`, which live in `shoal.api`, and what authors of plugins import. Engines and drivers are held by mypy alone.

    python tools/check_public_types.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = ("api", "config", "death", "errors", "ids", "interfaces", "spec")


def complaints(report: dict[str, Any]) -> list[str]:
    """Return "file:line: symbol: message" for each type that is missing or ambiguous in a public module."""
    found = []
    for symbol in report["typeCompleteness"]["symbols"]:
        in_public = symbol["name"].split(".")[1:2] and symbol["name"].split(".")[1] in PUBLIC
        if (
            not in_public
            or not symbol["isExported"]
            or (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"])
        ):
            continue
        for one in symbol["diagnostics"]:
            message = one["message"].splitlines()[0]
            # A type that is only partly known is so because of another symbol, which is in the list itself.
            if one["severity"] == "error" and "partially unknown" not in message:
                path = os.path.relpath(Path(one["file"]).resolve(), ROOT)
                found.append(f"{path}:{one['range']['start']['line'] + 1}: {symbol['name']}: {message}")
    return sorted(found)


def main() -> int:
    """Print what is wrong; return the exit status."""
    command = [Path(sys.executable).with_name("basedpyright"), "--verifytypes", "shoal"]
    done = subprocess.run(
        [*command, "--ignoreexternal", "--outputjson", "--pythonpath", sys.executable],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / ".view")},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    symbols = report["typeCompleteness"]["symbols"]
    if len(symbols) < 100:
        print(f"only {len(symbols)} symbols were found; is .view there?\n{done.stdout}{done.stderr}")
        return 1
    found = complaints(report)
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(found)} public types are missing or ambiguous")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
