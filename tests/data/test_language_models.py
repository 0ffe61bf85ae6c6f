"""Processors: a tiny model in this cluster behind templates and tokens, and a server of HTTP that fails now and
then."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import shoal.data
import shoal.errors
from shoal.data.llm import (
    ChatTemplateStageConfig,
    DetokenizeStageConfig,
    Engine,
    EngineProcessorConfig,
    HttpRequestProcessorConfig,
    HttpRequestStageConfig,
    Processor,
    ProcessorConfig,
    TokenizerStageConfig,
    build_llm_processor,
    build_processor,
)

pytestmark = pytest.mark.usefixtures("session")

CORPUS = "the cat sat on the mat the cat ran"
WORDS = ["?", *dict.fromkeys(CORPUS.split())]
TEMPLATE = "{% for m in messages %}{{ m.content }} {% endfor %}{{ ending }}"


class Words:
    """A tokenizer of words."""

    def encode(self, text: str) -> list[int]:
        return [WORDS.index(word) if word in WORDS else 0 for word in text.split()]

    def decode(self, numbers: Sequence[int]) -> str:
        return " ".join(WORDS[number] for number in numbers)


class Bigrams(Engine):
    """A model that was trained: the word that followed most often in its corpus comes next."""

    def __init__(self, model_source: Any = None, steps: int = 1) -> None:
        numbers = Words().encode(model_source)
        pairs = Counter(itertools.pairwise(numbers))
        self.next = {first: second for (first, second), _ in reversed(pairs.most_common())}
        self.steps = steps

    def generate(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        made = []
        for request in requests:
            numbers = list(request["tokenized_prompt"])
            if 0 in numbers:
                raise LookupError("a word that the model does not know")
            for _ in range(self.steps):
                numbers.append(self.next[numbers[-1]])
            made.append({"generated_tokens": numbers[-self.steps :]})
        return made


def config(**more: Any) -> EngineProcessorConfig:
    return EngineProcessorConfig(
        **{
            "engine": Bigrams,
            "model_source": CORPUS,
            "engine_kwargs": {"steps": 2},
            "batch_size": 2,
            "chat_template_stage": ChatTemplateStageConfig(chat_template=TEMPLATE),
            "tokenize_stage": TokenizerStageConfig(model_source=Words()),
            "detokenize_stage": DetokenizeStageConfig(model_source=Words()),
            **more,
        }
    )


def ask(row: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": row["text"]}]}


def pick(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "answer": row["generated_text"]}


def test_rows_go_through_template_tokens_engine_and_text() -> None:
    processor = build_processor(config(), ask, pick)
    ds = shoal.data.from_items(
        [{"id": 1, "text": "the"}, {"id": 2, "text": "sat"}, {"id": 3, "text": "on the"}]
    )
    answers = {row["id"]: row["answer"] for row in processor(ds).take_all()}
    assert answers[2] == "on the"
    assert answers[1] == answers[3]
    assert processor.list_stage_names() == [
        "ChatTemplateStage",
        "TokenizeStage",
        "EngineStage",
        "DetokenizeStage",
    ]
    assert processor.get_stage_by_name("EngineStage").batch_size == 2
    with pytest.raises(ValueError, match="there are ChatTemplateStage"):
        processor.get_stage_by_name("Nothing")


def test_templates_take_further_arguments() -> None:
    only = config(tokenize_stage=None, detokenize_stage=None, engine=Echo, engine_kwargs={})
    more = build_llm_processor(only, ask, builder_kwargs={"chat_template_kwargs": {"ending": "!"}})
    [row] = more(shoal.data.from_items([{"text": "hello"}])).take_all()
    assert row["generated_text"] == "hello !"


class Echo(Engine):
    """Gives prompts back."""

    async def generate(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        return [{"generated_text": request["prompt"]} for request in requests]


class Meeting(Engine):
    """Batches meet: each waits until another one is under way too."""

    def __init__(self, model_source: Any = None) -> None:
        self.here = 0

    async def generate(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        self.here += 1
        deadline = time.monotonic() + 30
        while self.here < 2 and time.monotonic() < deadline:
            await asyncio.sleep(0.001)
        assert self.here >= 2
        return [{"embeddings": [float(len(request["prompt"]))]} for request in requests]


def test_engines_embed_several_batches_at_a_time() -> None:
    embed = EngineProcessorConfig(engine=Meeting, batch_size=1, max_concurrent_batches=2)
    ds = shoal.data.from_items([{"prompt": "a"}, {"prompt": "bcd"}], override_num_blocks=1)
    rows = build_processor(embed)(ds).take_all()
    assert [row["embeddings"] for row in rows] == [[1.0], [3.0]]


def test_what_an_engine_raises_is_raised_or_told() -> None:
    ds = shoal.data.from_items([{"id": 1, "text": "dog"}, {"id": 2, "text": "the"}])
    with pytest.raises(LookupError, match="does not know"):
        build_processor(config(), ask, pick)(ds).take_all()
    goes_on = config(should_continue_on_error=True, batch_size=1)
    rows = {row["id"]: row for row in build_processor(goes_on, ask)(ds).take_all()}
    assert rows[1]["__inference_error__"] == "LookupError: a word that the model does not know"
    assert rows[1]["generated_text"] is None
    assert rows[2]["__inference_error__"] is None
    assert rows[2]["generated_text"]


def test_a_tokenizer_comes_from_a_file(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="?")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    from_file = config(
        tokenize_stage=TokenizerStageConfig(model_source=str(tmp_path)),
        detokenize_stage=DetokenizeStageConfig(model_source=str(tmp_path / "tokenizer.json")),
    )
    [row] = build_processor(from_file, ask, pick)(
        shoal.data.from_items([{"id": 1, "text": "sat"}])
    ).take_all()
    assert row == {"id": 1, "answer": "on the"}


def test_wrong_configs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"subclass of shoal\.data\.llm\.Engine"):
        build_processor(EngineProcessorConfig(engine=dict))
    with pytest.raises(TypeError, match="config must be"):
        build_processor(ProcessorConfig())
    with pytest.raises(ValueError, match="batch_size"):
        ProcessorConfig(batch_size=0)
    with pytest.raises(ValueError, match="concurrency"):
        ProcessorConfig(concurrency=(3, 1))
    with pytest.raises(KeyError, match=r"needs the column messages, .*; there are id"):
        build_processor(config())(shoal.data.range(3)).take_all()
    with pytest.raises(TypeError, match="preprocess must return"):
        build_processor(config(), lambda row: None)(shoal.data.range(3)).take_all()  # type: ignore[arg-type,return-value]
    lost = config(tokenize_stage=TokenizerStageConfig(model_source=str(tmp_path / "nothing")))
    with pytest.raises(shoal.errors.ActorDied, match="FileNotFoundError: there is no tokenizer"):
        build_processor(lost, ask)(shoal.data.from_items([{"text": "a"}])).take_all()


def test_settings_come_from_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "ask.yaml").write_text("url: http://localhost:1\nconcurrency: [1, 3]\nqps: 5\n")
    found = HttpRequestProcessorConfig.from_file(str(tmp_path / "ask.yaml"), batch_size=7)
    assert (found.url, found.qps, found.batch_size) == ("http://localhost:1", 5, 7)
    assert found.get_concurrency() == (1, 3)
    assert found.get_concurrency(autoscaling_enabled=False) == (3, 3)
    assert ChatTemplateStageConfig.parse_yaml("enabled: false").enabled is False
    with pytest.raises(TypeError, match="mapping"):
        ProcessorConfig.parse_yaml("- 1")
    with caplog.at_level(logging.INFO, logger="shoal.data.llm"):
        build_processor(found).log_input_column_names()
    assert "HttpRequestStage needs the columns payload" in caplog.text


class Server(ThreadingHTTPServer):
    """Adds numbers up. Fails as often as it is told, and remembers when it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures: list[int] = []
        self.times: list[float] = []
        self.keys: set[str | None] = set()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.times.append(time.monotonic())
        self.server.keys.add(self.headers.get("X-Key"))
        status = self.server.failures.pop() if self.server.failures else 200
        body = json.dumps({"sum": sum(payload["numbers"]), "keys": sorted(payload)}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def asking(server: Server, **more: Any) -> Processor:
    found = HttpRequestProcessorConfig(
        url=f"http://127.0.0.1:{server.server_port}/sum",
        headers={"X-Key": "k"},
        base_retry_wait_time_in_s=0.01,
        **more,
    )
    return build_processor(
        found,
        preprocess=lambda row: {
            "payload": {"numbers": [row["id"], 1], **({"odd": 1} if row["id"] % 2 else {})}
        },
        postprocess=lambda row: {
            "id": row["id"],
            "sum": row["http_response"]["sum"],
            "keys": row["http_response"]["keys"],
        },
    )


def test_a_server_is_asked_for_each_row(server: Server) -> None:
    rows = asking(server, batch_size=3)(shoal.data.range(7)).take_all()
    assert [row["sum"] for row in rows] == [n + 1 for n in range(7)]
    assert [row["keys"] for row in rows[:2]] == [["numbers"], ["numbers", "odd"]]
    assert server.keys == {"k"}
    assert len(server.times) == 7


def test_a_server_that_fails_is_asked_again(server: Server) -> None:
    server.failures = [503, 429, 500]
    assert [row["sum"] for row in asking(server, max_retries=3)(shoal.data.range(3)).take_all()] == [1, 2, 3]
    assert len(server.times) == 6
    server.failures = [500, 500]
    with pytest.raises(RuntimeError, match=r"answered 500.*tried 2 times"):
        asking(server, max_retries=1)(shoal.data.range(1)).take_all()
    server.failures = [404]
    with pytest.raises(RuntimeError, match="answered 404"):
        asking(server, max_retries=5)(shoal.data.range(1)).take_all()
    assert len(server.times) == 9


def test_requests_keep_to_their_rate(server: Server) -> None:
    stage = HttpRequestStageConfig(batch_size=5, concurrency=1)
    assert asking(server, qps=4, http_request_stage=stage)(shoal.data.range(5)).count() == 5
    assert (
        server.times[-1] - server.times[0] > 0.5
    )  # a second, less what the first request may have been held up


def test_a_server_that_is_not_there_is_named() -> None:
    nothing = HttpRequestProcessorConfig(
        url="http://127.0.0.1:9/", base_retry_wait_time_in_s=0.01, max_retries=1
    )
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/ could not be asked.*tried 2 times"):
        build_processor(nothing, lambda row: {"payload": {"x": 1}})(shoal.data.range(1)).take_all()
