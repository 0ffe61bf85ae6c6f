"""The application: a deployment for each model, and an ingress with OpenAI's routes."""

from __future__ import annotations

import base64
import json
import struct
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError, describe
from shoal.serve.deployment import Application, deployment
from shoal.serve.exceptions import BackPressureError
from shoal.serve.llm.config import LLMConfig, llm_config
from shoal.serve.llm.engine import Piece, Sampling, make_engine

if TYPE_CHECKING:
    from starlette.requests import Request

_ROUTER = {"request_router_class": "prefix"}


class LLMServer:
    """Has one model. Requests are mappings with `prompt` or `messages`, `sampling` and `stop`; answers are `Piece`s."""

    def __init__(self, config: LLMConfig) -> None:
        self._config = config
        self._engine = make_engine(config)

    async def generate(self, request: Mapping[str, Any]) -> AsyncIterator[Piece]:
        """Yield an answer as it is made, up to the first of the texts in `stop`, which is not part of it."""
        told = dict(request["sampling"])
        told["max_tokens"] = min(told.get("max_tokens") or self._config.max_tokens, self._config.max_tokens)
        prompt = request.get("prompt")
        if prompt is None:
            prompt = self._engine.chat_prompt(request["messages"])
        stops, held = list(request.get("stop", ())), ""
        margin = max((len(each) for each in stops), default=1) - 1
        source = self._engine.generate(prompt, Sampling(**told))
        count = 0
        try:
            async for piece in source:
                held += piece.text
                count += bool(piece.text)
                found = [place for each in stops if (place := held.find(each)) >= 0]
                if found:
                    yield Piece(text=held[: min(found)], finish_reason="stop", completion_tokens=count)
                    return
                if piece.finish_reason:
                    yield Piece(
                        text=held,
                        finish_reason=piece.finish_reason,
                        prompt_tokens=piece.prompt_tokens,
                        completion_tokens=piece.completion_tokens,
                    )
                    return
                keep = len(held) - margin
                if keep > 0:
                    yield Piece(text=held[:keep])
                    held = held[keep:]
        finally:
            await source.aclose()  # type: ignore[attr-defined]

    async def embed(self, request: Mapping[str, Any]) -> tuple[list[list[float]], int]:
        """Return a vector for each text under `input`, and how many tokens they had."""
        return await self._engine.embed(request["input"])

    def check_health(self) -> None:
        """Raise if the model cannot answer any more."""
        self._engine.check_health()


class OpenAiIngress:
    """Answers `/v1/models`, `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings` below its route."""

    def __init__(self, models: Mapping[str, Any]) -> None:
        self._models = dict(models)
        self._since = int(time.time())

    async def __call__(self, request: Request) -> Any:
        """Answer an HTTP request; errors have the form that OpenAI's clients read."""
        from pydantic import ValidationError

        from shoal.serve.llm.requests import ChatRequest, CompletionRequest, EmbeddingRequest, reasons

        path = request.scope["path"].removeprefix(request.scope.get("root_path", "")).rstrip("/")
        routes: dict[str, tuple[type[Any], Any]] = {
            "/v1/chat/completions": (ChatRequest, self._chat),
            "/v1/completions": (CompletionRequest, self._complete),
            "/v1/embeddings": (EmbeddingRequest, self._embed),
        }
        if request.method == "GET" and path == "/v1/models":
            return {"object": "list", "data": [self._card(each) for each in self._models]}
        if request.method == "GET" and path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            return self._card(name) if name in self._models else self._unknown(name)
        if path not in routes:
            return _error(404, f"{request.method} {path} is no route here", "not_found")
        if request.method != "POST":
            return _error(405, f"{path} takes POST", "method_not_allowed")
        kind, answer = routes[path]
        try:
            asked = kind.model_validate_json(await request.body())
        except ValidationError as error:
            return _error(400, reasons(error))
        if asked.model not in self._models:
            return self._unknown(asked.model)
        try:
            return await answer(asked)
        except BackPressureError as error:
            return _error(429, str(error), "rate_limit_exceeded")
        except ValueError as error:
            return _error(400, str(getattr(error, "args", [error])[0]))

    def _card(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._since, "owned_by": "shoal"}

    def _unknown(self, name: str) -> Any:
        return _error(
            404, f"there is no model {name!r}; there are: {', '.join(self._models)}", "model_not_found"
        )

    async def _chat(self, asked: Any) -> Any:
        body = {"messages": [each.plain() for each in asked.messages]}
        return await self._answer(asked, body, asked.max_completion_tokens or asked.max_tokens, chat=True)

    async def _complete(self, asked: Any) -> Any:
        return await self._answer(asked, {"prompt": asked.prompt}, asked.max_tokens, chat=False)

    async def _answer(self, asked: Any, body: dict[str, Any], most: int | None, chat: bool) -> Any:
        body["sampling"] = {
            "max_tokens": most,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "seed": asked.seed,
        }
        body["stop"] = asked.stops()
        pieces = self._models[asked.model].options(stream=True).generate.remote(body)
        form = _Form(asked.model, chat)
        if not asked.stream:
            texts, last = [], Piece()
            async for last in pieces:
                texts.append(last.text)
            return form.whole("".join(texts), last)
        first = await anext(pieces)  # what the model cannot take is an error of the request, not of a stream
        from starlette.responses import StreamingResponse

        usage = asked.stream_options is not None and asked.stream_options.include_usage
        return StreamingResponse(_events(form, first, pieces, usage), media_type="text/event-stream")

    async def _embed(self, asked: Any) -> Any:
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        vectors, count = await self._models[asked.model].embed.remote({"input": texts})
        data = [
            {"object": "embedding", "index": index, "embedding": _as_asked(vector, asked.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": count, "total_tokens": count}
        return {"object": "list", "model": asked.model, "data": data, "usage": usage}


def _as_asked(vector: list[float], encoding: str) -> Any:
    return (
        vector if encoding == "float" else base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    )


class _Form:
    """The form of one answer: whole, or as chunks."""

    def __init__(self, model: str, chat: bool) -> None:
        self._chat = chat
        self._kind = "chat.completion" if chat else "text_completion"
        prefix = "chatcmpl" if chat else "cmpl"
        self._facts = {"id": f"{prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, text: str, last: Piece) -> dict[str, Any]:
        content = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, **content, "finish_reason": last.finish_reason, "logprobs": None}
        return {**self._facts, "object": self._kind, "choices": [choice], "usage": self.usage(last)}

    def chunk(self, piece: Piece, first: bool) -> dict[str, Any]:
        delta = {"role": "assistant"} if first else {}
        content = {"delta": {**delta, "content": piece.text}} if self._chat else {"text": piece.text}
        choice = {"index": 0, **content, "finish_reason": piece.finish_reason or None, "logprobs": None}
        return {**self._facts, "object": self._stream_kind, "choices": [choice]}

    @property
    def _stream_kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def last(self, piece: Piece) -> dict[str, Any]:
        return {**self._facts, "object": self._stream_kind, "choices": [], "usage": self.usage(piece)}

    def usage(self, last: Piece) -> dict[str, int]:
        prompt, made = last.prompt_tokens, last.completion_tokens
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


async def _events(form: _Form, first: Piece, pieces: Any, usage: bool) -> AsyncIterator[str]:
    """Yield an answer as server-sent events."""
    piece = first
    yield _event(form.chunk(piece, True))
    async for piece in pieces:
        yield _event(form.chunk(piece, False))
    if usage:
        yield _event(form.last(piece))
    yield "data: [DONE]\n\n"


def _event(value: Any) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _error(status: int, text: str, code: str | None = None) -> Any:
    from starlette.responses import JSONResponse

    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": text, "type": kind, "param": None, "code": code}}, status)


def build_llm_deployment(config: LLMConfig | Mapping[str, Any]) -> Application:
    """Return an application with one model, for handles: `generate` and `embed` of `LLMServer`. Raises ConfigError.

    Its router is `prefix` unless `deployment_config` names another: prompts that begin alike go to the same replica.
    """
    made = llm_config(config)
    name = "LLM-" + "".join(each if each.isalnum() or each in "-_." else "-" for each in made.model_id)
    options = {"name": name, "request_router_config": _ROUTER, **made.deployment_config}
    served: Application = deployment(LLMServer).options(**options).bind(made)
    return served


def build_openai_app(builder_config: Mapping[str, Any]) -> Application:
    """Return an application with OpenAI's routes for the models under `llm_configs`.

    `ingress_deployment_config` are options of the ingress's deployment. The function may be an `import_path` of a
    config file, with these as its `args`. Raises ConfigError.

    Example: `serve.run(build_openai_app({"llm_configs": [LLMConfig(model_loading_config={"model_id": "tiny"})]}))`
    """
    if not isinstance(builder_config, Mapping):
        raise ConfigError(
            f"build_openai_app takes a mapping with llm_configs, not {describe(builder_config)}"
        )
    if unknown := sorted(builder_config.keys() - {"llm_configs", "ingress_deployment_config"}):
        raise ConfigError(f"build_openai_app has no {unknown}; it has llm_configs, ingress_deployment_config")
    given: Any = builder_config.get("llm_configs")
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise ConfigError("llm_configs must be a list with at least one model")
    configs = [llm_config(each) for each in given]
    names = [each.model_id for each in configs]
    if len(set(names)) < len(names):
        raise ConfigError(f"two models have one model_id: {names}")
    options = {"max_ongoing_requests": 1000, **dict(builder_config.get("ingress_deployment_config") or {})}
    models = {each.model_id: build_llm_deployment(each) for each in configs}
    served: Application = deployment(OpenAiIngress).options(**options).bind(models)
    return served
