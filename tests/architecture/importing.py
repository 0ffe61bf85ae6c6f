"""Imports modules whose names come in, each in a process forked from this one; tells the errors as lines of JSON.

What takes seconds to import and is not ours is here already: else a thousand modules would take half an hour.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
import traceback
import warnings

HEAVY = ("numpy", "pandas", "pyarrow", "pydantic", "gymnasium", "optree", "torch", "fastapi", "uvicorn")
SECONDS = 60


def main() -> None:
    """Answer until there are no more names."""
    for package in HEAVY:
        with contextlib.suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(package)
    ours = [name for name in sys.modules if name.partition(".")[0] == "shoal"]
    assert not ours, f"imported by others: {ours}"
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as told:
            child = os.fork()
            if not child:
                imports(line.strip(), told.fileno())
            _, status = os.waitpid(child, 0)
            told.seek(0)
            error = told.read() or (f"it ended with status {status}" if status else "")
        sys.stdout.write(json.dumps(error) + "\n")
        sys.stdout.flush()


def imports(name: str, told: int) -> None:
    """Import one module, write what goes wrong, and end the process."""
    import signal

    signal.alarm(SECONDS)
    status = 0
    try:
        importlib.import_module(name)
    except BaseException:  # whatever it is, it is to be told
        os.write(told, traceback.format_exc().encode())
        status = 1
    os._exit(status)


if __name__ == "__main__":
    main()
