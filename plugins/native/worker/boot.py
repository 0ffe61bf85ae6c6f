"""The program of a worker whose interpreter is not the node's: `python boot.py SESSION REQUEST PACKAGES…`.

It finds Shoal in the node's package folders, and loads what a worker needs from there, since both ends of a connection
must pickle alike; what the program imports later comes from the interpreter's own folders first. Nothing of Shoal can
be imported before that, so this is a file that runs by its path.
"""

from __future__ import annotations

import os
import site
import sys


def main(folder: str, target: str, packages: list[str]) -> None:
    """Become the worker. Exits with a sentence if this interpreter cannot be one."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    own = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    own = [entry for entry in own if entry not in packages]  # an environment may show the node's itself
    before = list(sys.path)
    for entry in packages:
        site.addsitedir(entry)
    added = [entry for entry in sys.path if entry not in before]
    sys.path[:] = [*(entry for entry in before if entry not in own), *added, *own]
    try:
        import shoal.native.worker.actor_host
        import shoal.serial.pickler  # noqa: F401  cloudpickle, the one that the other end has
        from shoal.native.worker.alone import run
    except ImportError as error:
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"the environment's interpreter {sys.executable} (Python {version}) cannot import Shoal, which the node "
            f"has in {', '.join(packages)}: {type(error).__name__}: {error}. It must be of the node's version of Python"
        )
    run(folder, target, own)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
