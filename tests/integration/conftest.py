"""Real sessions of the native engine; each test must leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from leftovers import assert_nothing_left

import shoal


@pytest.fixture
def session() -> Iterator[Any]:
    """A session with two CPUs; checked for leaks at its end."""
    context = shoal.init(engine="native", num_cpus=2, num_gpus=0)
    folder, name = context["session_dir"], context["session_name"]
    yield context
    shoal.shutdown()
    assert_nothing_left(folder, name)
