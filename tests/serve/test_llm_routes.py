"""Language models with OpenAI's routes, asked by OpenAI's client; the model is tiny, random and made here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking_services import base_url

import shoal
from shoal import serve
from shoal.errors import ConfigError
from shoal.serve.llm import LLMConfig, build_openai_app
from shoal.serve.llm.engine import Engine, make_engine
from shoal.serve.llm.testing import EngineContract

transformers = pytest.importorskip("transformers")
openai = pytest.importorskip("openai")
pytest.importorskip("torch")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("uvicorn")
pytestmark = [pytest.mark.processes, pytest.mark.slow]

WORDS = [
    "one",
    "two",
    "red",
    "blue",
    "fish",
    "shoal",
    "hello",
    "assistant",
    "user",
    "system",
    ":",
    ".",
    "<end>",
    "<unknown>",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two small layers with a tokenizer of a dozen words."""
    where = tmp_path_factory.mktemp("model")
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel(
            {word: number for number, word in enumerate(WORDS)}, unk_token="<unknown>"
        )
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", unk_token="<unknown>"
    ).save_pretrained(where)
    transformers.set_seed(1)
    transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=len(WORDS),
            n_positions=64,
            n_embd=16,
            n_layer=2,
            n_head=2,
            eos_token_id=12,
            bos_token_id=12,
        )
    ).save_pretrained(where)
    return where


def config(folder: Path, **changes: Any) -> LLMConfig:
    return LLMConfig(model_loading_config={"model_id": "tiny", "model_source": str(folder)}, **changes)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    """The engine with the model."""
    return make_engine(config(folder))


class TestTransformersEngine(EngineContract):
    """The contract."""


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Any]:
    """OpenAI's client of an application with two replicas of the model."""
    with shoal.init(num_cpus=4, num_gpus=0):
        serve.start(http_options={"port": 0})
        model = config(folder, max_tokens=20, deployment_config={"num_replicas": 2})
        serve.run(build_openai_app({"llm_configs": [model]}), route_prefix="/llm")
        with openai.OpenAI(base_url=f"{base_url()}/llm/v1", api_key="none", max_retries=0) as client:
            yield client
        serve.shutdown()


def test_models_are_listed_and_others_unknown(client: Any) -> None:
    assert [each.id for each in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "shoal"
    with pytest.raises(openai.NotFoundError, match="there is no model 'huge'"):
        client.completions.create(model="huge", prompt="one fish")


def test_answers_come_whole_or_in_pieces_and_are_the_same(client: Any) -> None:
    asked = {"model": "tiny", "prompt": "one fish two fish", "temperature": 0, "max_tokens": 12}
    whole = client.completions.create(**asked)
    assert whole.usage.prompt_tokens == 4
    assert whole.usage.completion_tokens <= 12
    pieces = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(each.choices[0].text for each in pieces if each.choices) == whole.choices[0].text
    assert pieces[-1].usage == whole.usage
    assert pieces[-2].choices[0].finish_reason == whole.choices[0].finish_reason


def test_conversations_seeds_and_words_that_end_an_answer(client: Any) -> None:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "hello fish"}], "seed": 3}
    one, other = (client.chat.completions.create(**asked, max_tokens=15) for _ in range(2))
    text = one.choices[0].message.content
    assert text == other.choices[0].message.content
    assert text.split()
    word = text.split()[len(text.split()) // 2]
    stopped = client.chat.completions.create(**asked, max_tokens=15, stop=[word]).choices[0]
    assert stopped.message.content == text[: text.index(word)]
    assert stopped.finish_reason == "stop"
    pieces = list(client.chat.completions.create(**asked, max_tokens=15, stop=word, stream=True))
    assert "".join(each.choices[0].delta.content for each in pieces) == text[: text.index(word)]


def test_embeddings(client: Any) -> None:
    made = client.embeddings.create(model="tiny", input=["one fish", "two fish"])
    assert [len(each.embedding) for each in made.data] == [16, 16]
    exact = (
        client.embeddings.create(model="tiny", input="one fish", encoding_format="float").data[0].embedding
    )
    assert exact == pytest.approx(made.data[0].embedding, rel=1e-5)


def test_what_is_wrong_is_told_as_clients_expect(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.completions.create(model="tiny", prompt="one", temperature=9)
    with pytest.raises(openai.BadRequestError, match="logit_bias: Extra inputs are not permitted"):
        client.completions.create(model="tiny", prompt="one", logit_bias={"1": 3})
    for stream in (False, True):
        with pytest.raises(
            openai.BadRequestError, match="the prompt has 100 tokens, the model takes 1 to 63"
        ):
            client.completions.create(model="tiny", prompt="fish " * 100, stream=stream)
    with pytest.raises(ConfigError, match="llm_configs must be a list"):
        build_openai_app({"llm_configs": []})
    with pytest.raises(ConfigError, match="two models have one model_id"):
        build_openai_app({"llm_configs": [config(Path("a")), config(Path("b"))]})
