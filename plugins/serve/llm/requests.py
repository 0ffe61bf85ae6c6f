"""What clients of OpenAI's API send. What is not here is refused: an option that does nothing would be a lie."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str
    user: str | None = None


class StreamOptions(BaseModel):
    """What a stream has beside its text."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False


class _Sampled(_Strict):
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=1 << 63)
    stop: str | list[str] | None = None
    n: Literal[1] = 1
    stream: bool = False
    stream_options: StreamOptions | None = None

    def stops(self) -> list[str]:
        """Return the texts that end an answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [each for each in given if each]


class Part(BaseModel):
    """A part of a message: text only."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """Return role and text."""
        text = self.content if isinstance(self.content, str) else "".join(each.text for each in self.content)
        return {"role": self.role, "content": text}


class ChatRequest(_Sampled):
    """`/v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)


class CompletionRequest(_Sampled):
    """`/v1/completions`."""

    prompt: str


class EmbeddingRequest(_Strict):
    """`/v1/embeddings`."""

    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"


def reasons(error: Any) -> str:
    """Return in one line what pydantic found wrong."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the body'}: {each['msg']}" for each in error.errors()
    )
