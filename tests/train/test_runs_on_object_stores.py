"""Runs whose folder is in the bucket of a real S3 server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from real_servers import s3_server

from shoal import train
from shoal.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from shoal.train.trainer import DataParallelTrainer

pytest.importorskip("moto")
pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(address: str) -> Any:
    from pyarrow import fs

    found = fs.S3FileSystem(
        access_key="test",
        secret_key="test",
        region="us-east-1",
        endpoint_override=address,
        allow_bucket_creation=True,
    )
    found.create_dir("runs")
    return found


def loop(config: dict[str, Any]) -> None:
    context = train.get_context()
    step = 0
    if before := train.get_checkpoint():
        with before.as_directory() as folder:
            step = int(Path(folder, "step").read_text()) + 1
            parts = sorted(each.name for each in Path(folder).iterdir())
            assert parts == ["part_0", "part_1", "step"], parts
    for at in range(step, config["until"]):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"part_{context.get_world_rank()}").write_bytes(b"x" * 100_000)
            if context.get_world_rank() == 0:
                Path(folder, "step").write_text(str(at))
            train.report({"step": at, "began": step}, checkpoint=Checkpoint.from_directory(folder))
        if at == 2 and config["fails"] and not (mark := Path(config["fails"])).exists():
            train.collective.barrier()
            mark.touch()
            raise RuntimeError("once")


def files(bucket: Any, folder: str) -> set[str]:
    from pyarrow import fs

    found = bucket.get_file_info(fs.FileSelector(folder, recursive=True))
    return {each.path.removeprefix(folder + "/") for each in found if each.type == fs.FileType.File}


def test_a_run_on_s3_goes_on_after_a_failure_and_in_another_program(bucket: Any, tmp_path: Path) -> None:
    def fit(until: int, fails: str) -> Any:
        return DataParallelTrainer(
            loop,
            train_loop_config={"until": until, "fails": fails},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(
                name="sums",
                storage_path="runs/here",
                storage_filesystem=bucket,
                failure_config=FailureConfig(max_failures=1),
                checkpoint_config=CheckpointConfig(num_to_keep=2),
                verbose=0,
            ),
        ).fit()

    first = fit(5, fails=str(tmp_path / "failed"))
    assert list(first.metrics_dataframe["step"]) == [0, 1, 2, 3, 4]
    assert (tmp_path / "failed").exists()
    assert first.checkpoint.path.startswith("runs/here/sums/checkpoint_")
    second = fit(7, fails="")
    assert list(second.metrics_dataframe["step"]) == list(range(7))
    assert second.metrics["began"] == 5
    kept = [Path(checkpoint.path).name for checkpoint, _ in second.best_checkpoints]
    assert len(kept) == 2
    parts = {f"{name}/{part}" for name in kept for part in ("part_0", "part_1", "step")}
    assert files(bucket, "runs/here/sums") == {"run.json", "metrics.json"} | parts
    again = train.Result.from_path("runs/here/sums", bucket)
    assert again.metrics == second.metrics


def test_a_url_says_where_the_server_is(bucket: Any, address: str) -> None:
    """Workers were forked from a process that does not know the credentials: they come with the run."""
    scheme, _, place = address.partition("://")
    url = f"s3://test:test@runs/there?scheme={scheme}&endpoint_override={quote(place, safe='')}&region=us-east-1"
    result = DataParallelTrainer(
        loop,
        train_loop_config={"until": 2, "fails": ""},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name="url", storage_path=url, verbose=0),
    ).fit()
    assert result.metrics is not None
    assert result.metrics["step"] == 1
    assert {"run.json", "metrics.json"} <= files(bucket, "runs/there/url")
