"""Experiments whose folder is in the bucket of a real S3 server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_servers import s3_server

from shoal import tune

pytest.importorskip("moto")
pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("session")]


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    from pyarrow import fs

    with s3_server() as address:
        found = fs.S3FileSystem(
            access_key="test",
            secret_key="test",
            region="us-east-1",
            endpoint_override=address,
            allow_bucket_creation=True,
        )
        found.create_dir("searches")
        yield found


def test_an_experiment_in_a_bucket_is_stored_and_goes_on(bucket: Any, tmp_path: Path) -> None:
    marks = str(tmp_path)

    def train(config: dict[str, Any]) -> None:
        begin = 0
        if before := tune.get_checkpoint():
            with before.as_directory() as folder:
                begin = int(Path(folder, "step").read_text())
        Path(marks, f"{config['x']}_{begin}").touch()
        for step in range(begin + 1, 4):
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, "step").write_text(str(step))
                tune.report({"loss": config["x"] / step}, checkpoint=tune.Checkpoint.from_directory(folder))
            if config["x"] == 2 and begin == 0 and step == 2:
                raise ValueError("once")

    results = tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2, 3])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name="s3", storage_path="searches", storage_filesystem=bucket, verbose=0),
    ).fit()
    assert results.num_errors == 1
    assert results.experiment_path == "searches/s3"
    again = tune.Tuner.restore("searches/s3", train, resume_errored=True, storage_filesystem=bucket).fit()
    assert again.num_errors == 0
    assert sorted(result.metrics["loss"] for result in again) == [1 / 3, 2 / 3, 1.0]
    assert {path.name for path in tmp_path.iterdir()} == {"1_0", "2_0", "2_2", "3_0"}  # nothing was run again
    best = again.get_best_result()
    with best.checkpoint.as_directory() as folder:
        assert Path(folder, "step").read_text() == "3"
    read = tune.ExperimentAnalysis("searches/s3", storage_filesystem=bucket)
    assert [trial.status for trial in read.trials] == ["TERMINATED"] * 3
    assert tune.Tuner.can_restore("searches/s3", bucket)
    assert not tune.Tuner.can_restore("searches/none", bucket)
