"""A model of an MLflow registry, served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from shoal import serve
from shoal.errors import ConfigError
from shoal.serve.mlflow import build_mlflow_app

pytest.importorskip("mlflow")
pytest.importorskip("alembic")
pytest.importorskip("uvicorn")
pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_a_version_of_a_registered_model_is_served(client: httpx.Client, tmp_path: Path) -> None:
    import mlflow.pyfunc

    class Doubles(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return [2 * each for each in model_input]

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        experiment = mlflow.create_experiment("served", artifact_location=(tmp_path / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment) as run:
            mlflow.pyfunc.log_model(
                name="model", python_model=Doubles(), registered_model_name="doubles", pip_requirements=[]
            )
    finally:
        mlflow.set_tracking_uri(before)
    config = {"model_uri": "models:/doubles/1", "tracking_uri": uri}
    handle = serve.run(build_mlflow_app(config), route_prefix="/doubles")
    assert client.post("/doubles", json={"inputs": [1, 2, 3]}).json() == {"predictions": [2, 4, 6]}
    assert client.get("/doubles").json()["run_id"] == run.info.run_id
    assert client.post("/doubles", content=b"no json").status_code == 400
    assert handle.predict.remote([5]).result(timeout_s=60) == [10]


def test_what_is_wrong_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="model_uri must be text"):
        build_mlflow_app({})
    with pytest.raises(ConfigError, match="has no model_url"):
        build_mlflow_app({"model_url": "models:/a/1"})
