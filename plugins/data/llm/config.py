"""What a processor is to do: which stages it has, and how many actors run each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import IO, Any, TypeVar

import attrs

from shoal.data.checks import check_count, need
from shoal.errors import describe

C = TypeVar("C", bound="FromYaml")
Concurrency = int | tuple[int, int]


class FromYaml:
    """Settings that can lie in a file."""

    @classmethod
    def parse_yaml(cls: type[C], file: IO[str] | str, **kwargs: Any) -> C:
        """Return settings of YAML text, or of an open file of it; `kwargs` go before it. Needs pyyaml.

        Raises TypeError for what is no mapping, and for names that there are not.

        Example: `ProcessorConfig.parse_yaml("batch_size: 8")`
        """
        found = need("yaml", "parse_yaml", "pyyaml").safe_load(file)
        if not isinstance(found, Mapping):
            raise TypeError(f"settings are a mapping of names to values, not {describe(found)}")
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
        return cls(**{**given, **kwargs})

    @classmethod
    def from_file(cls: type[C], path: str, **kwargs: Any) -> C:
        """Return the settings in a YAML file; `kwargs` go before it.

        Example: `HttpRequestProcessorConfig.from_file("ask.yaml", url="http://localhost:8000")`
        """
        with open(path, encoding="utf-8") as file:
            return cls.parse_yaml(file, **kwargs)


def _count(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    check_count(attribute.name, value)


def _actors(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    pair = value if isinstance(value, tuple) else (1, value)
    if value is not None and not (
        len(pair) == 2 and all(type(each) is int for each in pair) and 1 <= pair[0] <= pair[1]
    ):
        raise ValueError(
            f"{attribute.name} must be a number of actors, or a pair (least, most) of them, not {describe(value)}"
        )


@attrs.define(kw_only=True)
class StageConfig(FromYaml):
    """How a stage runs. What is None is as the processor's own settings say.

    Parameters: `enabled` False leaves the stage out; `batch_size` is in rows, `concurrency` a number of actors or a
    pair (least, most); `num_cpus`, `memory` and `runtime_env` are those of an actor.
    """

    enabled: bool = True
    batch_size: int | None = attrs.field(default=None, validator=_count)
    concurrency: Concurrency | None = attrs.field(default=None, validator=_actors)
    runtime_env: Mapping[str, Any] | None = None
    num_cpus: float | None = None
    memory: float | None = None


@attrs.define(kw_only=True)
class ChatTemplateStageConfig(StageConfig):
    """Makes a prompt (column "prompt") of messages (column "messages": role and content each).

    Parameters: `chat_template` is a Jinja template with `messages` and what `chat_template_kwargs` say; without one,
    the tokenizer of `model_source` has it, which needs transformers.

    Example: `ChatTemplateStageConfig(chat_template="{% for m in messages %}{{ m.role }}: {{ m.content }}\\n{% endfor
    %}")`
    """

    model_source: Any = None
    chat_template: str | None = None
    chat_template_kwargs: Mapping[str, Any] | None = None


@attrs.define(kw_only=True)
class TokenizerStageConfig(StageConfig):
    """Makes numbers (column "tokenized_prompt") of the column "prompt".

    Parameters: `model_source` is a file `tokenizer.json` or a folder with one, or an object that has `encode` and
    `decode`. Files need tokenizers.

    Example: `TokenizerStageConfig(model_source="model/tokenizer.json")`
    """

    model_source: Any = None


@attrs.define(kw_only=True)
class DetokenizeStageConfig(StageConfig):
    """Makes text (column "generated_text") of the column "generated_tokens". `model_source` is as of the tokenizer.

    Example: `DetokenizeStageConfig(model_source="model/tokenizer.json")`
    """

    model_source: Any = None


@attrs.define(kw_only=True)
class HttpRequestStageConfig(StageConfig):
    """Sends the column "payload" to a server.

    Example: `HttpRequestStageConfig(num_cpus=0.1)`
    """


@attrs.define(kw_only=True)
class ProcessorConfig(FromYaml):
    """What all processors have.

    Parameters: `batch_size` is how many rows an actor takes at a time, `concurrency` a number of actors or a pair
    (least, most), and `accelerator_type` the kind of GPU that actors of the engine need.
    Raises ValueError for wrong numbers.
    """

    batch_size: int = attrs.field(default=32, validator=_count)
    accelerator_type: str | None = None
    concurrency: Concurrency = attrs.field(default=1, validator=_actors)

    def get_concurrency(self, autoscaling_enabled: bool = True) -> tuple[int, int]:
        """Return the least and the most actors; without autoscaling both are the most.

        Example: `ProcessorConfig(concurrency=(1, 4)).get_concurrency()  # (1, 4)`
        """
        least, most = (
            self.concurrency if isinstance(self.concurrency, tuple) else (self.concurrency, self.concurrency)
        )
        return (least, most) if autoscaling_enabled else (most, most)


@attrs.define(kw_only=True)
class HttpRequestProcessorConfig(ProcessorConfig):
    """Asks a server of HTTP for each row: the column "payload" is sent as JSON, "http_response" is what came.

    Parameters: `url` and `headers` are those of each request. All actors together send at most `qps` requests a second
    (None: any number). What fails by the connection, or with status 408, 429 or 5xx, is tried again up to `max_retries`
    times, after `base_retry_wait_time_in_s` seconds, twice as long each time, or as long as the server says.
    `session_factory` returns the aiohttp.ClientSession that an actor uses. Needs aiohttp.

    Example: `HttpRequestProcessorConfig(url="http://localhost:8000/v1/chat/completions", qps=10)`
    """

    url: str
    headers: Mapping[str, str] | None = None
    qps: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.gt(0)))
    max_retries: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    base_retry_wait_time_in_s: float = attrs.field(default=1.0, validator=attrs.validators.ge(0))
    session_factory: Callable[[], Any] | None = None
    http_request_stage: HttpRequestStageConfig = attrs.field(factory=HttpRequestStageConfig)


@attrs.define(kw_only=True)
class EngineProcessorConfig(ProcessorConfig):
    """Runs an engine of this program's own in actors: a subclass of `Engine`, or its "module:name".

    Parameters: `model_source` and `engine_kwargs` are what it is made with. `chat_template_stage`, `tokenize_stage` and
    `detokenize_stage` are settings of stages around it, None for those that are not needed. `max_concurrent_batches` is
    how many batches an actor works on at a time if the engine's `generate` is an `async def`. With
    `should_continue_on_error` a row that the engine fails for has the error in "__inference_error__" (else null) and
    goes on. `num_gpus`, `num_cpus` and `runtime_env` are those of an actor.

    Example: `EngineProcessorConfig(engine=MyEmbedder, model_source="model/", batch_size=64)`
    """

    engine: Any
    model_source: Any = None
    engine_kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    max_concurrent_batches: int | None = attrs.field(default=None, validator=_count)
    should_continue_on_error: bool = False
    chat_template_stage: ChatTemplateStageConfig | None = None
    tokenize_stage: TokenizerStageConfig | None = None
    detokenize_stage: DetokenizeStageConfig | None = None
    num_gpus: float | None = None
    num_cpus: float | None = None
    runtime_env: Mapping[str, Any] | None = None
