"""Importing this installs the alias: workers do, so that `import ray` in a task means what it did outside."""

from __future__ import annotations

from shoal.compat.alias import install
from shoal.compat.logging_config import configure_from_environment

install()
configure_from_environment()
