"""What is said about a language model that is to be served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks


@attrs.frozen(kw_only=True)
class ModelLoadingConfig:
    """The name that clients ask for, and where its files are: a folder, or a name that the engine knows (the same as
    is).
    """

    model_id: str = attrs.field(validator=checks.text())
    model_source: str | None = attrs.field(default=None, validator=checks.text(optional=True))

    @property
    def source(self) -> str:
        """Where the model is loaded from."""
        return self.model_source or self.model_id


def _loading(value: Any) -> ModelLoadingConfig:
    if isinstance(value, ModelLoadingConfig):
        return value
    given = checks.mapping(value, "model_loading_config")
    if unknown := sorted(given.keys() - {"model_id", "model_source"}):
        raise ConfigError(f"model_loading_config has no {', '.join(unknown)}; it has model_id, model_source")
    if "model_id" not in given:
        raise ConfigError("model_loading_config needs model_id, the name that clients ask for")
    return ModelLoadingConfig(**given)


def _plain(value: Any) -> dict[str, Any]:
    return checks.mapping(value or {}, "engine_kwargs and deployment_config")


@attrs.frozen(kw_only=True)
class LLMConfig:
    """One model: `llm_engine` is a plugin's name of the group `shoal.serve.llm.engines`, `engine_kwargs` go to it,
    `deployment_config` are options of its deployment. An answer has at most `max_tokens` tokens, whatever is asked.

    Raises ConfigError.

    Example: `LLMConfig(model_loading_config={"model_id": "tiny", "model_source": "/models/tiny"})`
    """

    model_loading_config: ModelLoadingConfig = attrs.field(converter=_loading)
    llm_engine: str = attrs.field(default="transformers", validator=checks.text())
    engine_kwargs: Mapping[str, Any] = attrs.field(factory=dict, converter=_plain)
    deployment_config: Mapping[str, Any] = attrs.field(factory=dict, converter=_plain)
    max_tokens: int = attrs.field(default=4096, validator=checks.whole(1))

    @property
    def model_id(self) -> str:
        """The name that clients ask for."""
        return self.model_loading_config.model_id


def llm_config(value: Any) -> LLMConfig:
    """Return a configuration of what was given: one, or a mapping of its fields. Raises ConfigError.

    Example: `llm_config({"model_loading_config": {"model_id": "tiny"}}).model_id` is "tiny".
    """
    if isinstance(value, LLMConfig):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"a model is an LLMConfig or a mapping of its fields, not {describe(value)}")
    given = checks.mapping(value, "a model")
    known = {field.name for field in attrs.fields(LLMConfig)}
    if unknown := sorted(given.keys() - known):
        raise ConfigError(f"a model has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return LLMConfig(**given)
