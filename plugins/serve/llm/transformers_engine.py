"""The engine `transformers`: Hugging Face's models by PyTorch, one answer at a time in each replica."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from shoal.errors import ConfigError
from shoal.serve.llm.config import LLMConfig
from shoal.serve.llm.engine import Engine, Piece, Sampling

_PIECE_SECONDS = 300.0
_OPTIONS = frozenset({"device", "dtype", "trust_remote_code", "local_files_only"})


class TransformersEngine(Engine):
    """Any causal model that `AutoModelForCausalLM` loads.

    `engine_kwargs`: `device` ("cpu" as is), `dtype` (a name of torch's, such as "bfloat16"), `local_files_only` (True
    as is: nothing is downloaded), `trust_remote_code` (False as is). Answers are made one at a time, so that a seed
    decides them; others wait.
    """

    name: ClassVar[str] = "transformers"

    def __init__(self, config: LLMConfig) -> None:
        super().__init__(config)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        given = dict(config.engine_kwargs)
        if unknown := sorted(given.keys() - _OPTIONS):
            raise ConfigError(f"the engine 'transformers' has no {unknown}; it has {sorted(_OPTIONS)}")
        self._device = torch.device(given.get("device", "cpu"))
        source = config.model_loading_config.source
        shared = {
            "local_files_only": given.get("local_files_only", True),
            "trust_remote_code": given.get("trust_remote_code", False),
        }
        dtype = {"dtype": getattr(torch, given["dtype"])} if "dtype" in given else {}
        self._tokenizer: Any = AutoTokenizer.from_pretrained(source, **shared)
        self._model: Any = (
            AutoModelForCausalLM.from_pretrained(source, **dtype, **shared).to(self._device).eval()
        )
        self._turn = asyncio.Lock()

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return what the tokenizer's template makes of a conversation, or the plain form if it has none."""
        if getattr(self._tokenizer, "chat_template", None) is None:
            return super().chat_prompt(messages)
        given = [dict(each) for each in messages]
        return str(self._tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=True))

    async def generate(self, prompt: str, sampling: Sampling) -> AsyncIterator[Piece]:
        """Yield text as the model makes it."""
        tokens = self._tokenizer(prompt, return_tensors="pt").to(self._device)
        given = int(tokens["input_ids"].shape[1])
        room = int(getattr(self._model.config, "max_position_embeddings", 1 << 30)) - given
        if not given or room < 1:
            raise ValueError(f"the prompt has {given} tokens, the model takes 1 to {given + room - 1}")
        async with self._turn:
            run = _Run(self._model, self._tokenizer, tokens, sampling, min(sampling.max_tokens, room))
            run.start()
            try:
                while True:
                    text = await asyncio.to_thread(run.next_text)
                    if text is None:
                        break
                    if text:
                        yield Piece(text=text)
            finally:
                run.stop.set()
                await asyncio.shield(asyncio.to_thread(run.join, _PIECE_SECONDS))
        yield Piece(finish_reason=run.reason, prompt_tokens=given, completion_tokens=run.count)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Return the mean of the last layer over each text's tokens."""
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: list[str]) -> tuple[list[list[float]], int]:
        import torch

        found, count = [], 0
        with torch.inference_mode():
            for text in texts:
                tokens = self._tokenizer(text, return_tensors="pt").to(self._device)
                if not tokens["input_ids"].shape[1]:
                    raise ValueError("an empty text has no embedding")
                last = self._model(**tokens, output_hidden_states=True).hidden_states[-1]
                found.append(last[0].float().mean(0).tolist())
                count += int(tokens["input_ids"].shape[1])
        return found, count


class _Run(threading.Thread):
    """One answer in a thread: what is made goes into a queue."""

    def __init__(self, model: Any, tokenizer: Any, tokens: Any, sampling: Sampling, most: int) -> None:
        super().__init__(name="shoal-serve-llm", daemon=True)
        from transformers import TextIteratorStreamer

        self._model, self._tokens, self._sampling, self._most = model, tokens, sampling, most
        self._streamer = TextIteratorStreamer(
            tokenizer, skip_prompt=True, timeout=_PIECE_SECONDS, skip_special_tokens=True
        )
        self._ends = model.generation_config.eos_token_id
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self._end_ids()[0]
        self._error: BaseException | None = None
        self.stop = threading.Event()
        self.count = 0
        self.reason = "length"

    def _end_ids(self) -> list[int]:
        return list(self._ends) if isinstance(self._ends, (list, tuple)) else [self._ends or 0]

    def _look(self, ids: Any, scores: Any, **more: Any) -> Any:
        """Called after each token: counts it, and ends what nobody waits for."""
        import torch

        self.count += 1
        if self._ends is not None and int(ids[0, -1]) in self._end_ids():
            self.reason = "stop"
        return torch.full((ids.shape[0],), self.stop.is_set(), dtype=torch.bool, device=ids.device)

    def run(self) -> None:
        import torch
        from transformers import StoppingCriteriaList

        told = self._sampling
        how = (
            {"do_sample": True, "temperature": told.temperature, "top_p": told.top_p}
            if told.temperature
            else {}
        )
        try:
            if told.seed is not None:
                torch.manual_seed(told.seed)
            with torch.inference_mode():
                self._model.generate(
                    **self._tokens,
                    **(how or {"do_sample": False}),
                    max_new_tokens=self._most,
                    pad_token_id=self._pad,
                    streamer=self._streamer,
                    stopping_criteria=StoppingCriteriaList([self._look]),
                )
        except BaseException as error:  # told where the text is awaited
            self._error = error
            self._streamer.end()

    def next_text(self) -> str | None:
        """Return the next text, None at the end. Raises what the model raised, TimeoutError."""
        try:
            return str(next(self._streamer))
        except StopIteration:
            if self._error is not None:
                raise self._error from None
            return None
        except queue.Empty:
            raise TimeoutError(f"the model made nothing for {_PIECE_SECONDS:g} s") from None
