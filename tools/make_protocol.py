"""Compile the control plane's .proto to the descriptor that is shipped: `make protocol`. With --check, only compare.

The package carries the compiled descriptor and makes message classes from it when it runs, so that one wheel works with
every protobuf release: generated Python modules are tied to the one that made them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

FOLDER = Path(__file__).resolve().parent.parent / "plugins" / "native" / "wire"


def compiled() -> bytes:
    """Return the descriptor set of control.proto. Raises SystemExit with the compiler's complaint."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "control.desc")
        arguments = ["protoc", f"-I{FOLDER}", f"--descriptor_set_out={target}", "control.proto"]
        if protoc.main(arguments):
            raise SystemExit("control.proto does not compile")
        return target.read_bytes()


def main() -> None:
    """Write the descriptor, or with --check say whether it is current."""
    target = FOLDER / "control.desc"
    fresh = compiled()
    if "--check" not in sys.argv[1:]:
        target.write_bytes(fresh)
    elif not target.exists() or target.read_bytes() != fresh:
        raise SystemExit(
            "plugins/native/wire/control.desc is not what control.proto says; run `make protocol`"
        )


if __name__ == "__main__":
    main()
