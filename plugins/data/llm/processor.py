"""Processors: datasets in, datasets out, through stages that run in pools of actors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from shoal.data.compute import ActorPoolStrategy
from shoal.data.dataset import Dataset
from shoal.data.llm.config import (
    Concurrency,
    EngineProcessorConfig,
    HttpRequestProcessorConfig,
    ProcessorConfig,
    StageConfig,
)
from shoal.data.llm.engine import find_engine
from shoal.data.llm.stages import ChatTemplate, Detokenize, HttpRequests, Tokenize, stage_of_engine
from shoal.errors import describe

logger = logging.getLogger(__name__)
RowFn = Callable[[dict[str, Any]], Mapping[str, Any]]


@attrs.frozen(kw_only=True)
class Stage:
    """One step of a processor: a class that is called with batches (Arrow tables), in a pool of actors.

    Parameters: `fn` is made with `arguments`; `batch_size` is in rows, `concurrency` a number of actors or a pair;
    `calls` is how many batches an `async def` is awaited for at a time, `options` are those of an actor.
    """

    name: str
    fn: Any
    arguments: tuple[Any, ...] = ()
    batch_size: int = 32
    concurrency: Concurrency = 1
    calls: int | None = None
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def __call__(self, dataset: Dataset) -> Dataset:
        """Return the dataset with this step behind it."""
        least, most = (
            self.concurrency if isinstance(self.concurrency, tuple) else (self.concurrency, self.concurrency)
        )
        pool = ActorPoolStrategy(min_size=least, max_size=most, max_concurrent_calls_per_actor=self.calls)
        return dataset.map_batches(
            self.fn,
            fn_constructor_args=self.arguments,
            batch_size=self.batch_size,
            batch_format="pyarrow",
            compute=pool,
            **self.options,
        )


class Processor:
    """Takes each row of a dataset through `preprocess`, the stages, and `postprocess`. Made by `build_processor`.

    Rows keep their columns: what a step makes is added, so `postprocess` sees all and returns the columns that are to
    remain.

    Example: `build_processor(config, preprocess=ask, postprocess=pick)(ds).take_all()`
    """

    DATA_COLUMN = "__data"

    def __init__(
        self,
        config: ProcessorConfig,
        stages: Sequence[Stage],
        preprocess: RowFn | None = None,
        postprocess: RowFn | None = None,
        preprocess_map_kwargs: Mapping[str, Any] | None = None,
        postprocess_map_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        names = [stage.name for stage in stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages need names of their own, not {', '.join(names)}")
        for name, fn in (("preprocess", preprocess), ("postprocess", postprocess)):
            if fn is not None and not callable(fn):
                raise TypeError(f"{name} must be a function of a row, not {describe(fn)}")
        self.config = config
        self._stages = list(stages)
        self._preprocess = preprocess
        self._postprocess = postprocess
        self._before = dict(preprocess_map_kwargs or {})
        self._after = dict(postprocess_map_kwargs or {})

    def __call__(self, dataset: Dataset) -> Dataset:
        """Return the dataset with all steps behind it; nothing runs yet. Raises TypeError for what is no dataset."""
        if not isinstance(dataset, Dataset):
            raise TypeError(f"a Dataset is needed, not {describe(dataset)}")
        if self._preprocess is not None:
            dataset = dataset.map(_Added(self._preprocess), **self._before)
        for stage in self._stages:
            dataset = stage(dataset)
        return dataset if self._postprocess is None else dataset.map(self._postprocess, **self._after)

    def list_stage_names(self) -> list[str]:
        """Return the names of the stages, in their order."""
        return [stage.name for stage in self._stages]

    def get_stage_by_name(self, name: str) -> Stage:
        """Return a stage. Raises ValueError naming those that there are."""
        for stage in self._stages:
            if stage.name == name:
                return stage
        raise ValueError(
            f"there is no stage {name!r}; there are {', '.join(self.list_stage_names()) or 'none'}"
        )

    def log_input_column_names(self) -> None:
        """Log the columns that `preprocess` must make, if the rows have them not, by the first stage that needs any."""
        for stage in self._stages:
            if getattr(stage.fn, "needs", ()):
                logger.info("%s needs the columns %s", stage.name, ", ".join(stage.fn.needs))
                return


@attrs.frozen
class _Added:
    """A function of rows whose result is added to the row."""

    fn: RowFn

    @property
    def __name__(self) -> str:
        return getattr(self.fn, "__name__", "preprocess")

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        made = self.fn(row)
        if not isinstance(made, Mapping):
            raise TypeError(f"preprocess must return a mapping of columns, not {describe(made)}")
        return {**row, **made}


def build_processor(
    config: ProcessorConfig,
    preprocess: RowFn | None = None,
    postprocess: RowFn | None = None,
    preprocess_map_kwargs: Mapping[str, Any] | None = None,
    postprocess_map_kwargs: Mapping[str, Any] | None = None,
    builder_kwargs: Mapping[str, Any] | None = None,
) -> Processor:
    """Return a processor of what a config says.

    Parameters: `preprocess` makes of a row the columns that the first stage needs ("messages", "prompt" or "payload"),
    `postprocess` of a row with everything the row that remains. `…_map_kwargs` are further parameters of their `map`,
    such as `num_cpus` or `on_bad_rows`. `builder_kwargs` are further arguments of the chat template
    (`chat_template_kwargs`). Raises TypeError for a config that is none.

    Example: `build_processor(HttpRequestProcessorConfig(url=url), preprocess=lambda row: {"payload": {"x": row["x"]}})`
    """
    more = dict(builder_kwargs or {})
    template_kwargs = more.pop("chat_template_kwargs", None) or {}
    if more:
        raise TypeError(f"unknown builder_kwargs {', '.join(more)}; there is chat_template_kwargs")
    if isinstance(config, HttpRequestProcessorConfig):
        stages = [_http_stage(config)]
    elif isinstance(config, EngineProcessorConfig):
        stages = _engine_stages(config, template_kwargs)
    else:
        raise TypeError(
            f"config must be an HttpRequestProcessorConfig or an EngineProcessorConfig, not {describe(config)}"
        )
    return Processor(config, stages, preprocess, postprocess, preprocess_map_kwargs, postprocess_map_kwargs)


build_llm_processor = build_processor


def _common(config: ProcessorConfig, stage: StageConfig) -> dict[str, Any]:
    options = {name: getattr(stage, name) for name in ("num_cpus", "memory", "runtime_env")}
    return {
        "batch_size": stage.batch_size or config.batch_size,
        "concurrency": stage.concurrency or config.concurrency,
        "options": {name: value for name, value in options.items() if value is not None},
    }


def _http_stage(config: HttpRequestProcessorConfig) -> Stage:
    common = _common(config, config.http_request_stage)
    actors = common["concurrency"]
    most = actors[1] if isinstance(actors, tuple) else actors
    arguments = (
        config.url,
        dict(config.headers or {}),
        0.0 if config.qps is None else most / config.qps,
        config.max_retries,
        config.base_retry_wait_time_in_s,
        config.session_factory,
    )
    return Stage(name="HttpRequestStage", fn=HttpRequests, arguments=arguments, calls=1, **common)


def _engine_stages(config: EngineProcessorConfig, template_kwargs: Mapping[str, Any]) -> list[Stage]:
    engine = find_engine(config.engine)
    stages = []
    chat, tokens, text = config.chat_template_stage, config.tokenize_stage, config.detokenize_stage
    if chat is not None and chat.enabled:
        kwargs = {**(chat.chat_template_kwargs or {}), **template_kwargs}
        arguments = (chat.model_source or config.model_source, chat.chat_template, kwargs)
        stages.append(
            Stage(name="ChatTemplateStage", fn=ChatTemplate, arguments=arguments, **_common(config, chat))
        )
    if tokens is not None and tokens.enabled:
        source = (tokens.model_source or config.model_source,)
        stages.append(Stage(name="TokenizeStage", fn=Tokenize, arguments=source, **_common(config, tokens)))
    options = {
        "accelerator_type": config.accelerator_type,
        "num_gpus": config.num_gpus,
        "num_cpus": config.num_cpus,
        "runtime_env": config.runtime_env,
    }
    stages.append(
        Stage(
            name="EngineStage",
            fn=stage_of_engine(engine),
            arguments=(
                engine,
                config.model_source,
                dict(config.engine_kwargs),
                config.should_continue_on_error,
            ),
            batch_size=config.batch_size,
            concurrency=config.concurrency,
            calls=config.max_concurrent_batches,
            options={name: value for name, value in options.items() if value is not None},
        )
    )
    if text is not None and text.enabled:
        source = (text.model_source or config.model_source,)
        stages.append(Stage(name="DetokenizeStage", fn=Detokenize, arguments=source, **_common(config, text)))
    return stages
