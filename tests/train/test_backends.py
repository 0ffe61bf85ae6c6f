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


class TestHorovod(BackendContract):
    @pytest.fixture
    def config(self) -> BackendConfig:
        return backend_config_of("horovod")

    def use(self) -> Any:
        """Meet as Horovod's Gloo does: each rank puts where it is, and asks for the others until they are there."""
        import time
        import urllib.error
        import urllib.request

        rank, size = int(os.environ["HOROVOD_RANK"]), int(os.environ["HOROVOD_SIZE"])
        port = os.environ["HOROVOD_GLOO_RENDEZVOUS_PORT"]
        where = f"http://{os.environ['HOROVOD_GLOO_RENDEZVOUS_ADDR']}:{port}/global"
        local = (os.environ["HOROVOD_LOCAL_RANK"], os.environ["HOROVOD_LOCAL_SIZE"])
        cross = (os.environ["HOROVOD_CROSS_RANK"], os.environ["HOROVOD_CROSS_SIZE"])
        assert local == (str(rank), "2")  # both are on this node
        assert cross == ("0", "1")
        assert os.environ["HOROVOD_CONTROLLER"] == os.environ["HOROVOD_CPU_OPERATIONS"] == "gloo"

        def ask(method: str, key: int, data: bytes | None = None) -> bytes:
            request = urllib.request.Request(f"{where}/{key}", data, method=method)
            with urllib.request.urlopen(request, timeout=10) as answer:
                found: bytes = answer.read()
                return found

        def wait(key: int) -> bytes:
            deadline = time.monotonic() + 30
            while True:
                try:
                    return ask("GET", key)
                except urllib.error.HTTPError as error:
                    if error.code != 404 or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)

        ask("PUT", rank, f"rank {rank} on {os.environ['HOROVOD_HOSTNAME']}".encode())
        return [wait(each) for each in range(size)]


PROGRAM = """
import os
import torch
import torch.distributed as dist

# As Megatron-LM's scripts begin: everything comes from the environment.
dist.init_process_group("gloo", world_size=int(os.environ["WORLD_SIZE"]), rank=int(os.environ["RANK"]))
groups = {name: dist.new_group(ranks) for name, ranks in {"tensor": [0, 1], "first": [0], "second": [1]}.items()}
total = torch.full((1,), 1.0 + dist.get_rank())
dist.all_reduce(total, group=groups["tensor"])
print(int(total), os.environ["LOCAL_RANK"] == os.environ["RANK"])
dist.destroy_process_group()
"""


class TestLaunchedScripts(TestTorch):
    """Programs that ranks start, as torchrun would."""

    def use(self) -> Any:
        import subprocess
        import sys

        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.mark.usefixtures("session")
def test_all_ranks_give_and_all_get(tmp_path: Any) -> None:
    from shoal import train
    from shoal.train import DataParallelTrainer, RunConfig, ScalingConfig

    def loop() -> Any:
        rank = train.get_context().get_world_rank()
        train.collective.barrier()
        return train.collective.all_gather({"rank": rank}), train.collective.broadcast_from_rank_zero(rank)

    run = RunConfig(storage_path=str(tmp_path), verbose=0)
    result = DataParallelTrainer(loop, scaling_config=ScalingConfig(num_workers=3), run_config=run).fit()
    assert result.return_value == ([{"rank": 0}, {"rank": 1}, {"rank": 2}], 0)
