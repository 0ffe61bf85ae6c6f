"""What stages do with the rows of a batch. Each class is made once in an actor."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.data.block import Block, from_rows, rows_of
from shoal.data.checks import need
from shoal.errors import describe

ERROR_COLUMN = "__inference_error__"
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 60.0  # seconds between two tries
_TIMEOUT = 300.0  # seconds for one answer


class RowsOfBatch:
    """Calls `process` with a batch's rows, and adds the columns that it returns for each."""

    needs: tuple[str, ...] = ()  # the columns that rows must have

    def process(self, rows: list[dict[str, Any]]) -> Any:
        """Return for each row its new columns; may be an `async def`."""
        raise NotImplementedError

    def __call__(self, table: Block) -> Block:
        """Take a batch, an Arrow table, through."""
        rows = self._rows(table)
        return self._joined(rows, self.process(rows))

    def _rows(self, table: Block) -> list[dict[str, Any]]:
        missing = [name for name in self.needs if name not in table.column_names]
        if missing and ERROR_COLUMN not in table.column_names:  # rows that failed before lack what failed
            raise KeyError(
                f"{type(self).__name__} needs the column {', '.join(missing)}, which preprocess is to make; there are "
                f"{', '.join(table.column_names)}"
            )
        return list(rows_of(table))

    def _joined(self, rows: list[dict[str, Any]], made: Any) -> Block:
        is_list = isinstance(made, Sequence) and all(isinstance(each, Mapping) for each in made)
        if not is_list or len(made) != len(rows):
            raise TypeError(
                f"{type(self).__name__} must make a mapping for each of {len(rows)} rows, not {describe(made)}"
            )
        return from_rows([{**row, **new} for row, new in zip(rows, made, strict=True)])


class AsyncRowsOfBatch(RowsOfBatch):
    """The same for an `async def process`."""

    async def __call__(self, table: Block) -> Block:
        """Take a batch, an Arrow table, through."""
        rows = self._rows(table)
        return self._joined(rows, await self.process(rows))


class ChatTemplate(RowsOfBatch):
    """Messages to prompts."""

    needs = ("messages",)

    def __init__(self, model_source: Any, chat_template: str | None, kwargs: Mapping[str, Any]) -> None:
        self._render: Any
        self._kwargs = {"add_generation_prompt": True, **kwargs}
        if chat_template is not None:
            sandbox = need("jinja2.sandbox", "a chat template", "jinja2")
            template = sandbox.ImmutableSandboxedEnvironment().from_string(chat_template)
            self._render = lambda messages: template.render(messages=messages, **self._kwargs)
        else:
            tokenizer: Any = need(
                "transformers", "the chat template of a model"
            ).AutoTokenizer.from_pretrained(model_source)
            self._render = lambda messages: tokenizer.apply_chat_template(
                messages, tokenize=False, **self._kwargs
            )

    def process(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return a prompt for each row."""
        return [{"prompt": self._render(row["messages"])} for row in rows]


class Tokenize(RowsOfBatch):
    """Prompts to numbers."""

    needs = ("prompt",)

    def __init__(self, model_source: Any) -> None:
        self._tokenizer = load_tokenizer(model_source)

    def process(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the numbers of each prompt."""
        encoded = (self._tokenizer.encode(row["prompt"]) for row in rows)
        return [{"tokenized_prompt": list(getattr(each, "ids", each))} for each in encoded]


class Detokenize(RowsOfBatch):
    """Numbers to text."""

    needs = ("generated_tokens",)

    def __init__(self, model_source: Any) -> None:
        self._tokenizer = load_tokenizer(model_source)

    def process(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the text of each row's numbers; null where there are none."""
        given = (row.get("generated_tokens") for row in rows)
        return [{"generated_text": None if each is None else self._tokenizer.decode(each)} for each in given]


def load_tokenizer(model_source: Any) -> Any:
    """Return what encodes and decodes: of a file or folder, or the object itself. Raises FileNotFoundError or
    TypeError.

    Example: `load_tokenizer("model/").encode("hello").ids`
    """
    if (
        hasattr(model_source, "encode")
        and hasattr(model_source, "decode")
        and not isinstance(model_source, str)
    ):
        return model_source
    if not isinstance(model_source, (str, os.PathLike)):
        raise TypeError(
            "model_source must be a tokenizer.json, a folder with one, or have encode and decode, "
            f"not {describe(model_source)}"
        )
    path = os.fspath(model_source)
    path = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no tokenizer {path!r}")
    return need("tokenizers", "a tokenizer.json").Tokenizer.from_file(path)


class _Errors:
    """What an engine's failure is to a batch."""

    continues: bool

    def _failed(self, rows: list[dict[str, Any]], error: Exception) -> list[dict[str, Any]]:
        if not self.continues:
            raise error
        return [{ERROR_COLUMN: f"{type(error).__name__}: {error}"} for _ in rows]

    def _well(self, made: Any) -> Any:
        if not self.continues or not isinstance(made, Sequence):
            return made
        return [{ERROR_COLUMN: None, **each} for each in made]


class RunEngine(_Errors, RowsOfBatch):
    """Requests through an engine."""

    def __init__(self, engine: Any, model_source: Any, kwargs: Mapping[str, Any], continues: bool) -> None:
        self._engine = engine(model_source, **kwargs)
        self.continues = continues

    def process(self, rows: list[dict[str, Any]]) -> Any:
        """Return what the engine makes of each row."""
        try:
            return self._well(self._engine.generate(rows))
        except Exception as error:  # the engine is the program's code
            return self._failed(rows, error)


class RunAsyncEngine(_Errors, AsyncRowsOfBatch):
    """Requests through an engine whose `generate` is an `async def`."""

    def __init__(self, engine: Any, model_source: Any, kwargs: Mapping[str, Any], continues: bool) -> None:
        self._engine = engine(model_source, **kwargs)
        self.continues = continues

    async def process(self, rows: list[dict[str, Any]]) -> Any:
        """Return what the engine makes of each row."""
        try:
            return self._well(await self._engine.generate(rows))
        except Exception as error:  # the engine is the program's code
            return self._failed(rows, error)


def stage_of_engine(engine: Any) -> Any:
    """Return the stage that runs an engine of a class.

    Example: `stage_of_engine(MyEngine)  # RunEngine`
    """
    return RunAsyncEngine if inspect.iscoroutinefunction(engine.generate) else RunEngine


class HttpRequests(AsyncRowsOfBatch):
    """Payloads to a server, several at a time, no faster than allowed."""

    needs = ("payload",)

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        seconds_apart: float,
        max_retries: int,
        wait: float,
        session_factory: Any,
    ) -> None:
        self._aiohttp = need("aiohttp", "requests of HTTP")
        self._url = url
        self._headers = dict(headers)
        self._apart = seconds_apart
        self._retries = max_retries
        self._wait = wait
        self._factory = session_factory or self._plain_session
        self._next = 0.0

    def _plain_session(self) -> Any:
        return self._aiohttp.ClientSession(timeout=self._aiohttp.ClientTimeout(total=_TIMEOUT))

    async def process(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the answer to each row's payload."""
        async with self._factory() as session:
            asked = [asyncio.ensure_future(self._ask(session, row["payload"])) for row in rows]
            try:
                return [{"http_response": answer} for answer in await asyncio.gather(*asked)]
            finally:
                for task in asked:  # one that failed for good ends the others
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, session: Any, payload: Any) -> Any:
        for attempt in range(self._retries + 1):
            await self._turn()
            wait = min(_LONGEST_WAIT, self._wait * 2**attempt) * random.uniform(0.8, 1.2)
            try:
                async with session.post(
                    self._url, json=_without_nulls(payload), headers=self._headers
                ) as answer:
                    if answer.status < 400:
                        return await answer.json(content_type=None)
                    told = (await answer.text())[:500]
                    problem: Exception = RuntimeError(f"{self._url} answered {answer.status}: {told}")
                    if answer.status not in _AGAIN:
                        raise problem
                    after = answer.headers.get("Retry-After", "")
                    wait = min(_LONGEST_WAIT, float(after)) if after.isdigit() else wait
            except (
                self._aiohttp.ClientConnectionError,
                self._aiohttp.ClientPayloadError,
                asyncio.TimeoutError,
            ) as error:
                problem = ConnectionError(f"{self._url} could not be asked: {error!r}")
            if attempt < self._retries:
                await asyncio.sleep(wait)
        tries = f" (tried {self._retries + 1} times)" if self._retries else "; max_retries tries again"
        raise type(problem)(f"{problem}{tries}")

    async def _turn(self) -> None:
        """Wait until the next request may be sent."""
        if self._apart:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + self._apart
            await asyncio.sleep(mine - now)


def _without_nulls(value: Any) -> Any:
    """A payload without what Arrow filled in: keys that other rows have."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value
