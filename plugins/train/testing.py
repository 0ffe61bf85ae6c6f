"""The contract of backends, for whoever writes one.

class TestMine(BackendContract):
    @pytest.fixture
    def config(self):
        return MyConfig()
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import shoal
from shoal.train.backend import Backend, BackendConfig
from shoal.train.calls import get_context, report
from shoal.train.config import FailureConfig, RunConfig, ScalingConfig
from shoal.train.trainer import DataParallelTrainer

WORKERS = 2


class BackendContract:
    """What every backend must do. Runs real workers; a session is begun if there is none."""

    @pytest.fixture
    def config(self) -> BackendConfig:
        """Return the backend's configuration."""
        raise NotImplementedError("return the configuration of the backend")

    @pytest.fixture(autouse=True)
    def _session(self) -> Any:
        mine = not shoal.is_initialized()
        if mine:
            shoal.init(num_cpus=WORKERS)
        yield
        if mine:
            shoal.shutdown()

    def use(self) -> Any:
        """Use the framework in every rank, so that all need each other; return what all must agree on."""
        return None

    def _fit(self, config: BackendConfig, folder: Path, loop: Any, **run: Any) -> Any:
        return DataParallelTrainer(
            loop,
            backend_config=config,
            scaling_config=ScalingConfig(num_workers=WORKERS),
            run_config=RunConfig(storage_path=str(folder), verbose=0, **run),
        ).fit()

    def test_it_is_plain_and_can_be_sent(self, config: BackendConfig) -> None:
        assert issubclass(config.backend_cls, Backend)
        assert config.to_dict() == pickle.loads(cloudpickle.dumps(config)).to_dict()
        assert all(isinstance(name, str) for name in config.preload)

    def test_all_ranks_run_and_agree(self, config: BackendConfig, tmp_path: Path) -> None:
        use = self.use

        def loop() -> None:
            said = use()
            rank = get_context().get_world_rank()
            (tmp_path / f"rank_{rank}").write_text(repr(said))
            report({"size": get_context().get_world_size()})

        assert self._fit(config, tmp_path / "runs", loop).metrics == {"size": WORKERS}
        said = [(tmp_path / f"rank_{rank}").read_text() for rank in range(WORKERS)]
        assert len(set(said)) == 1

    def test_a_second_group_begins_after_a_failure(self, config: BackendConfig, tmp_path: Path) -> None:
        use = self.use

        def loop() -> None:
            use()
            mark = tmp_path / "failed"
            if get_context().get_world_rank() == 1 and not mark.exists():
                mark.touch()
                raise RuntimeError("once")
            report({"again": mark.exists()})

        found = self._fit(config, tmp_path / "runs", loop, failure_config=FailureConfig(max_failures=1))
        assert found.metrics == {"again": True}
