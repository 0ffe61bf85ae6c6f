"""The contract of engines for language models: subclass it, with a fixture `engine`."""

from __future__ import annotations

import asyncio
from typing import Any

from shoal.serve.llm.engine import Engine, Piece, Sampling


async def _all(engine: Engine, prompt: str, **sampling: Any) -> list[Piece]:
    return [each async for each in engine.generate(prompt, Sampling(**{"max_tokens": 8, **sampling}))]


class EngineContract:
    """What an engine keeps, whatever its model."""

    def test_the_last_piece_and_no_other_says_why_it_ended_and_what_it_took(self, engine: Engine) -> None:
        *before, last = asyncio.run(_all(engine, "one fish two fish"))
        assert last.finish_reason in ("stop", "length")
        assert not any(each.finish_reason for each in before)
        assert last.prompt_tokens > 0
        assert 0 < last.completion_tokens <= 8

    def test_without_chance_or_with_a_seed_answers_are_the_same(self, engine: Engine) -> None:
        for how in ({"temperature": 0.0}, {"seed": 7}):
            one, other = (asyncio.run(_all(engine, "one fish", **how)) for _ in range(2))
            assert "".join(each.text for each in one) == "".join(each.text for each in other)

    def test_several_at_once_and_one_that_is_given_up(self, engine: Engine) -> None:
        async def ask() -> list[list[Piece]]:
            given_up: Any = engine.generate("one fish", Sampling(max_tokens=64))
            await anext(given_up)
            await given_up.aclose()
            return list(await asyncio.gather(*(_all(engine, "two fish") for _ in range(3))))

        assert all(each[-1].finish_reason for each in asyncio.run(ask()))

    def test_a_conversation_is_a_prompt(self, engine: Engine) -> None:
        prompt = engine.chat_prompt([{"role": "user", "content": "hello fish"}])
        assert "hello fish" in prompt
