"""Our backends keep the contract of backends."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from shoal.train.backend import BackendConfig, backend_config_of
from shoal.train.testing import BackendContract

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]


class TestPlain(BackendContract):
    @pytest.fixture
    def config(self) -> BackendConfig:
        return BackendConfig()


class TestTorch(BackendContract):
    @pytest.fixture
    def config(self) -> BackendConfig:
        return backend_config_of("torch")

    def use(self) -> Any:
        import torch
        import torch.distributed as dist

        total = torch.ones(1)
        dist.all_reduce(total)
        # Launchers' contract: what torchrun's programs, DeepSpeed and Megatron-LM among them, look for.
        names = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
        assert os.environ["RANK"] == str(dist.get_rank())
        return total.item(), [os.environ[name] for name in names]


class TestXGBoost(BackendContract):
    @pytest.fixture
    def config(self) -> BackendConfig:
        return backend_config_of("xgboost")

    def use(self) -> Any:
        import numpy as np
        from xgboost import collective

        total = collective.allreduce(np.ones(1), collective.Op.SUM)
        return collective.get_world_size(), float(total[0])


class TestTensorflow(BackendContract):
    @pytest.fixture
    def config(self) -> BackendConfig:
        return backend_config_of("tensorflow")

    def use(self) -> Any:
        from shoal import train

        found = json.loads(os.environ["TF_CONFIG"])
        assert found["task"] == {"type": "worker", "index": train.get_context().get_world_rank()}
        assert len(set(found["cluster"]["worker"])) == 2
        return found["cluster"]


class TestLightGBM(BackendContract):
    @pytest.fixture
    def config(self) -> BackendConfig:
        return backend_config_of("lightgbm")

    def use(self) -> Any:
        from shoal.train.lightgbm import get_network_params

        found = get_network_params()
        assert f":{found['local_listen_port']}" in found["machines"]
        return found["machines"]
