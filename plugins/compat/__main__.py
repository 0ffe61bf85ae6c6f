"""Run a program written for Ray on Shoal: `python -m shoal.compat program.py [args]`, or `-m module [args]`."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from typing import Any

from shoal.compat.alias import install

USAGE = "usage: python -m shoal.compat program.py [args]\n       python -m shoal.compat -m module [args]\n"


def main(arguments: list[str]) -> int:
    """Run what the arguments name as the main program; return the exit status when it could not be started."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"]:
        sys.stderr.write(USAGE)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    install()
    try:
        code, facts, argv = _module(*arguments[1:]) if arguments[0] == "-m" else _file(*arguments)
    except _Unusable as error:
        sys.stderr.write(f"shoal.compat: {error}\n{USAGE}")
        return 2
    module = types.ModuleType("__main__")
    module.__dict__.update(facts, __builtins__=__builtins__)
    # Pickling looks classes and functions of the program up in here, until the process ends.
    sys.modules["__main__"] = module
    sys.argv[:] = argv
    exec(code, module.__dict__)
    return 0


class _Unusable(Exception):
    """What was named cannot be run."""


def _file(path: str, *argv: str) -> tuple[Any, dict[str, Any], list[str]]:
    if os.path.isdir(path):
        path = os.path.join(path, "__main__.py")
    try:
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec")
    except OSError as error:
        raise _Unusable(f"cannot read {path}: {error.strerror}") from None
    # As Python itself does: the program's folder instead of the current one.
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    return code, {"__file__": path, "__spec__": None, "__package__": None}, [path, *argv]


def _module(name: str, *argv: str) -> tuple[Any, dict[str, Any], list[str]]:
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(name + ".__main__")
    except ImportError as error:
        raise _Unusable(f"cannot import {name}: {error}") from None
    code = getattr(spec.loader, "get_code", lambda _: None)(spec.name) if spec is not None else None
    if spec is None or code is None:
        raise _Unusable(f"no module named {name} that can be run")
    facts = {"__file__": spec.origin, "__spec__": spec, "__package__": spec.parent, "__loader__": spec.loader}
    return code, facts, [str(spec.origin), *argv]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
