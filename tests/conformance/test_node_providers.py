"""The contract of NodeProvider over the providers that need no server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.node_providers.process import ProcessNodes
from shoal.testing.nodes import Make, NodeProviderContract


@pytest.mark.processes
class TestProcess(NodeProviderContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Iterator[Make]:
        folder = tempfile.mkdtemp(prefix="s-")  # a short name, for the sockets of sessions
        options = {"folder": str(tmp_path / "machines"), "temp_dir": folder}
        yield lambda cluster, start: ProcessNodes(cluster, start, options)
        shutil.rmtree(folder, ignore_errors=True)
