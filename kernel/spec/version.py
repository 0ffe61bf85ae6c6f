"""The version of this distribution, for modules below the package's own, and of the Python that runs it."""

from __future__ import annotations

import sys

VERSION = "0.1.0"


def python_version() -> str:
    """Return the part of Python's version that all processes of a cluster need to have in common.

    Example: "3.11".
    """
    return f"{sys.version_info.major}.{sys.version_info.minor}"
