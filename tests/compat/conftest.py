"""The alias, put in place for one test and taken away after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shoal import compat


@pytest.fixture
def alias(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`import ray` means Shoal."""
    assert not compat.installed()
    compat.install()
    yield
    compat.uninstall()
