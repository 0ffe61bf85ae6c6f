"""worker_preload: modules that workers have before they begin."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import shoal

pytestmark = pytest.mark.processes


def test_workers_have_what_was_preloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("VALUE = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    @shoal.remote
    def loaded(name: str) -> bool:
        return name in sys.modules

    with shoal.init(engine="native", num_cpus=1, num_gpus=0, worker_preload=["slow_to_import"]):
        assert shoal.get(loaded.remote("slow_to_import"), timeout=30)


def test_a_module_that_cannot_be_imported_does_not_keep_workers_from_starting() -> None:
    @shoal.remote
    def works() -> int:
        return 1

    with shoal.init(engine="native", num_cpus=1, num_gpus=0, worker_preload=["there_is_no_such_module"]):
        assert shoal.get(works.remote(), timeout=30) == 1
