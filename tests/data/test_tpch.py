"""TPC-H's queries, as examples/tpch writes them, give the answers that DuckDB gives."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import shoal

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "tpch"))
import tpch
from tpch_queries import QUERIES


@pytest.fixture(scope="module")
def hundredth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, list[tuple[Any, ...]]]]:
    """The tables at a hundredth of the size, and the right answers."""
    folder = tmp_path_factory.mktemp("tpch")
    return folder, tpch.generate(folder, 0.01)


@pytest.mark.parametrize("number", sorted(QUERIES))
def test_a_query_gives_the_right_answer(
    inline: None, hundredth: tuple[Path, dict[int, list[tuple[Any, ...]]]], number: int
) -> None:
    folder, wanted = hundredth
    assert wanted[number]
    assert list(tpch.differences(tpch.answer(number, folder), wanted[number])) == []


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.timeout(900)
def test_all_queries_at_scale_one(tmp_path: Path) -> None:
    wanted = tpch.generate(tmp_path, 1)
    with shoal.init(num_cpus=2):
        wrong = {
            number: list(tpch.differences(tpch.answer(number, tmp_path), wanted[number]))[:3]
            for number in QUERIES
        }
    assert not any(wrong.values()), wrong
