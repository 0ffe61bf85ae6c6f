"""The socket for what makes text or embeddings of prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from shoal.errors import describe


class Engine(ABC):
    """A model, loaded once in each actor: it is made with `model_source` and the `engine_kwargs` of the processor.

    Example:
        class Upper(Engine):
            def generate(self, requests): return [{"generated_text": each["prompt"].upper()} for each in requests]
    """

    def __init__(self, model_source: Any = None, **engine_kwargs: Any) -> None:
        self.model_source = model_source
        self.engine_kwargs = engine_kwargs

    @abstractmethod
    def generate(self, requests: Sequence[Mapping[str, Any]]) -> Any:
        """Return for each request, a row as it is by now, the columns that it gets: as many mappings as there are
        requests.

        "generated_tokens" (numbers), "generated_text" or "embeddings" are what later stages and readers expect. May
        be an `async def`: then several batches are under way at a time. Raises what the model raises, for the whole
        batch.
        """


def find_engine(given: Any) -> type[Engine]:
    """Return the class of an engine, of itself or of "module:name". Raises TypeError, and ImportError for no module.

    Example: `find_engine("my_models:Embedder")`
    """
    found = given
    if isinstance(given, str):
        module, mark, name = given.partition(":")
        if not mark:
            raise ValueError(f'an engine is named "module:name", not {describe(given)}')
        found = getattr(import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise TypeError(
            f"engine must be a subclass of shoal.data.llm.Engine, or its module:name, not {describe(given)}"
        )
    return found
