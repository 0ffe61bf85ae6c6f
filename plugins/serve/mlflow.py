"""Models of an MLflow registry as services."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError, describe
from shoal.serve.deployment import Application, deployment

if TYPE_CHECKING:
    from starlette.requests import Request

_KNOWN = frozenset({"model_uri", "tracking_uri", "registry_uri", "deployment_config"})


class MLflowModel:
    """Loads one model, and predicts: over HTTP from `{"inputs": …}` to `{"predictions": …}`, by handles with
    `predict`.
    """

    def __init__(
        self, model_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        try:
            import mlflow.pyfunc
        except ImportError as error:
            raise ConfigError(f"shoal.serve.mlflow needs {error.name}: install mlflow") from error
        if tracking_uri is not None:
            mlflow.set_tracking_uri(tracking_uri)
        if registry_uri is not None:
            mlflow.set_registry_uri(registry_uri)
        self._uri = model_uri
        self._model: Any = mlflow.pyfunc.load_model(model_uri)

    def predict(self, inputs: Any) -> Any:
        """Return what the model says of inputs as its flavor takes them; called in a thread."""
        return self._model.predict(inputs)

    def metadata(self) -> dict[str, Any]:
        """Return the model's address, its run, and its signature in plain values."""
        told = self._model.metadata
        signature = told.signature.to_dict() if told.signature is not None else None
        return {"model_uri": self._uri, "run_id": told.run_id, "signature": signature}

    async def __call__(self, request: Request) -> Any:
        """Answer POST with predictions, and GET with what is known of the model."""
        from starlette.responses import JSONResponse

        if request.method == "GET":
            return self.metadata()
        try:
            body = await request.json()
            inputs = body["inputs"]
        except (ValueError, KeyError, TypeError):
            return JSONResponse({"error": 'the body is JSON with "inputs"'}, 400)
        return {"predictions": await asyncio.to_thread(self.predict, inputs)}


def build_mlflow_app(builder_config: Mapping[str, Any]) -> Application:
    """Return an application that serves a model of MLflow's: `model_uri` is a folder, `runs:/…` or
    `models:/NAME/VERSION`.

    `tracking_uri` and `registry_uri` say where MLflow's servers or files are, `deployment_config` are options of the
    deployment. The function may be an `import_path` of a config file, with these as its `args`. A model is code: load
    those of people you trust only. Raises ConfigError.

    Example: `serve.run(build_mlflow_app({"model_uri": "models:/iris/3", "tracking_uri": "sqlite:///mlflow.db"}))`
    """
    if not isinstance(builder_config, Mapping):
        raise ConfigError(f"build_mlflow_app takes a mapping with model_uri, not {describe(builder_config)}")
    if unknown := sorted(builder_config.keys() - _KNOWN):
        raise ConfigError(f"build_mlflow_app has no {', '.join(unknown)}; it has {', '.join(sorted(_KNOWN))}")
    uri = builder_config.get("model_uri")
    if not isinstance(uri, str) or not uri:
        raise ConfigError(f"model_uri must be text, such as 'models:/iris/3', not {describe(uri)}")
    options = dict(builder_config.get("deployment_config") or {})
    served: Application = (
        deployment(MLflowModel)
        .options(**options)
        .bind(uri, builder_config.get("tracking_uri"), builder_config.get("registry_uri"))
    )
    return served
