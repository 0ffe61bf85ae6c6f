"""The driver's printer of worker output: a prefix for each line, one line for many equal ones."""

from __future__ import annotations

import pytest

from shoal.native.client import log_printer
from shoal.native.client.log_printer import LogPrinter

FOLD = log_printer._FOLD_SECONDS


class FakeReactor:
    def __init__(self) -> None:
        self.soon: list[object] = []
        self.later: list[object] = []

    def call_soon_unlocked(self, callback: object) -> None:
        self.soon.append(callback)

    def call_later(self, seconds: float, callback: object) -> None:
        self.later.append(callback)


@pytest.fixture
def written() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def printer(written: list[tuple[str, str]]) -> LogPrinter:
    return LogPrinter(FakeReactor(), lambda stream, text: written.append((stream, text)))  # type: ignore[arg-type]


def test_each_line_has_its_prefix(printer: LogPrinter) -> None:
    assert printer.fold(["a", "b"], 7, "(f pid=7)", "stdout", 0.0) == "(f pid=7) a\n(f pid=7) b\n"


def test_one_process_may_repeat_itself(printer: LogPrinter) -> None:
    for _ in range(3):
        assert printer.fold(["a"], 7, "(f pid=7)", "stdout", 0.0) == "(f pid=7) a\n"
    assert printer.settle(FOLD) == []


def test_other_processes_are_counted(printer: LogPrinter) -> None:
    printer.fold(["a"], 1, "(f pid=1)", "stdout", 0.0)
    for process in (2, 3, 4):
        assert printer.fold(["a", "mine"], process, "(f pid=x)", "stdout", 1.0).count("mine") == (
            process == 2
        )
    assert printer.settle(FOLD - 0.1) == [], "not yet"
    assert printer.settle(FOLD) == [("stdout", "(f pid=1) a [and 3 times in other workers]\n")]
    [told] = printer.settle(1.0 + FOLD)
    assert "mine [and 2 times" in told[1]
    assert printer.settle(100.0) == [], "told once"


def test_after_a_while_it_is_news_again(printer: LogPrinter) -> None:
    printer.fold(["a"], 1, "(f pid=1)", "stdout", 0.0)
    assert printer.fold(["a"], 2, "(f pid=2)", "stdout", FOLD) == "(f pid=2) a\n"


def test_empty_lines_are_not_folded(printer: LogPrinter) -> None:
    printer.fold([""], 1, "(pid=1)", "stdout", 0.0)
    assert printer.fold([""], 2, "(pid=2)", "stdout", 0.0) == "(pid=2) \n"


def test_what_is_remembered_is_bounded_and_its_counts_are_not_lost(printer: LogPrinter) -> None:
    printer.fold(["first"], 1, "(pid=1)", "stdout", 0.0)
    printer.fold(["first"], 2, "(pid=2)", "stdout", 0.0)
    many = [str(number) for number in range(log_printer._REMEMBERED)]
    assert "first [and 1 times in other workers]" in printer.fold(many, 1, "(pid=1)", "stdout", 0.0)
    assert len(printer._seen) == log_printer._REMEMBERED


def test_the_end_of_the_session_tells_what_was_counted(
    printer: LogPrinter, written: list[tuple[str, str]]
) -> None:
    printer.fold(["a"], 1, "(pid=1)", "stderr", 0.0)
    printer.fold(["a"], 2, "(pid=2)", "stderr", 0.0)
    printer.finish()
    assert written == [("stderr", "(pid=1) a [and 1 times in other workers]\n")]
