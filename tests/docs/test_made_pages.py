"""The pages that docs/generate.py makes are those that the code makes today, and leave no public name out."""

from __future__ import annotations

import importlib.util
import re

import pytest
from doc_pages import ROOT, anchors

import shoal
from shoal.api.options import OPTIONS

spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
assert spec is not None
assert spec.loader is not None
spec.loader.exec_module(generate := importlib.util.module_from_spec(spec))

MADE = generate.pages()


@pytest.mark.parametrize("path", MADE)
def test_a_made_page_is_up_to_date(path: str) -> None:
    assert (ROOT / "docs" / path).read_text() == MADE[path], "run `make docs`"


def test_nothing_else_lies_in_the_folder_of_the_api() -> None:
    assert {f"api/{page.name}" for page in (ROOT / "docs" / "api").iterdir()} == {
        path for path in MADE if path.startswith("api/")
    }


def test_every_public_name_is_on_one_page() -> None:
    shown = [name for _, names in generate.PAGES.values() for name in names] + list(generate.ELSEWHERE)
    assert sorted(shown) == sorted(shoal.__all__)


def test_the_index_leads_to_every_name() -> None:
    found = re.findall(r"\[`(\w+)`\]\(([\w.]+)#(\w+)\)", MADE["api/index.md"])
    assert len(found) == len(shoal.__all__) - len(generate.ELSEWHERE)
    for name, page, fragment in found:
        assert fragment in anchors(ROOT / "docs" / "api" / page), name


def test_every_option_is_listed() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", MADE["api/options.md"], flags=re.M)) == set(OPTIONS)


def test_every_kind_of_message_is_in_a_table() -> None:
    rows = {
        name: int(number)
        for number, name in re.findall(r"^\| (\d+) \| (\w+) \|", MADE["wire.md"], flags=re.M)
    }
    assert rows == generate.kinds_of_code()


def test_sizes_of_the_handshake_are_those_of_the_code() -> None:
    from shoal.native.wire.handshake import ClientHandshake, ServerHandshake

    server, client = ServerHandshake(b"t" * 32, b"s" * 8), ClientHandshake(b"t" * 32, b"c" * 8)
    hello = server.begin()
    answer = client.feed(hello)
    accept = server.feed(answer)
    client.feed(accept)
    assert client.done
    rows = re.findall(r"^\| \w+ \| \w+ \| (\d+) \|", (ROOT / "docs" / "wire.md").read_text(), flags=re.M)
    assert [int(size) for size in rows] == [len(hello), len(answer), len(accept)]
