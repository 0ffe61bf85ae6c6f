"""The version of this distribution, for modules below the package's own."""

from __future__ import annotations

VERSION = "0.1.0"
