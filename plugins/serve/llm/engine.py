"""The interface of engines that run language models: plugins of the group `shoal.serve.llm.engines`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError
from shoal.serve.llm.config import LLMConfig


@attrs.frozen(kw_only=True)
class Sampling:
    """How an answer is made. `temperature` 0 takes the likeliest token each time; with a `seed` it is the same each
    time.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None


@attrs.frozen(kw_only=True)
class Piece:
    """What came: text, and with the last piece why it was the last ("stop" or "length"), and how many tokens there
    were.
    """

    text: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Engine(ABC):
    """Runs one model in one replica. Made in a thread, where it loads the model; its methods run in the event loop.

    `generate` may be called several times at once, and is closed (`aclose`) when nobody waits for the rest.
    """

    name: ClassVar[str] = ""

    def __init__(self, config: LLMConfig) -> None:
        self.config = config

    @abstractmethod
    def generate(self, prompt: str, sampling: Sampling) -> AsyncIterator[Piece]:
        """Yield the text that follows a prompt as it is made; the last piece has a `finish_reason` and the counts.

        Raises ValueError for what the model cannot take, such as a prompt that is too long.
        """

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the prompt of a conversation: role and content of each message, and the word to the assistant."""
        return "".join(f"{each['role']}: {each['content']}\n" for each in messages) + "assistant:"

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Return a vector for each text, and how many tokens they had. Raises ValueError if the engine makes none."""
        raise ValueError(f"the engine {self.name!r} makes no embeddings")

    def check_health(self) -> None:  # noqa: B027  (most engines cannot tell)
        """Raise if the model cannot answer any more."""


def make_engine(config: LLMConfig) -> Engine:
    """Return the engine of a configuration, its model loaded. Raises ConfigError, PluginNotFound, PluginBroken."""
    from shoal.errors import PluginBroken
    from shoal.registry.drivers import load_driver
    from shoal.registry.groups import SERVE_LLM_ENGINES

    found: Any = load_driver(SERVE_LLM_ENGINES, config.llm_engine)
    if not isinstance(found, type) or not issubclass(found, Engine):
        raise PluginBroken(f"the engine {config.llm_engine!r} is {found!r}, no class of Engine")
    try:
        made: Engine = found(config)
    except ImportError as error:
        raise ConfigError(
            f"the engine {config.llm_engine!r} needs {error.name}: install it with `pip install 'shoal[serve-llm]'`"
        ) from error
    return made
