"""The command of a job is split into words and means nothing more than it says."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import ConfigError
from shoal.jobs.entrypoint import split_entrypoint
from shoal.jobs.texts import check_id, check_metadata


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python train.py", ["python", "train.py"]),
        ("python -c 'print(1); x = $HOME'", ["python", "-c", "print(1); x = $HOME"]),
        ('python -c "a && b | c > d"', ["python", "-c", "a && b | c > d"]),
        ("echo a\\ b", ["echo", "a b"]),
        ("bash -c 'echo $HOME && ls'", ["bash", "-c", "echo $HOME && ls"]),
        ("train --rate=1e-3 --names=a,b", ["train", "--rate=1e-3", "--names=a,b"]),
    ],
)
def test_words(command: str, words: list[str]) -> None:
    assert split_entrypoint(command) == words


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("python a.py && python b.py", "'&&' means something to a shell only"),
        ("python a.py | tee log", r"'\|' means something to a shell only"),
        ("python a.py > log", "'>' means something to a shell only"),
        ("python a.py &", "'&' means something to a shell only"),
        ("python a.py; rm b", "';' means something to a shell only"),
        ("COLOUR=red python a.py", "begins with a variable"),
        ("python $HOME/a.py", "only a shell would replace"),
        ('python "$HOME/a.py"', "only a shell would replace"),
        ("python `which a`", "only a shell would replace"),
        ("python 'a.py", "cannot be read: No closing quotation"),
        ("", "must be a command"),
        ("   ", "must be a command"),
        (None, "must be a command"),
        (["python", "a.py"], "must be a command"),
        ("python a\0b", "without NUL"),
        ("x" * 100_000, "at most 65,536 bytes"),
    ],
)
def test_what_only_a_shell_could_do_is_refused(command: object, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        split_entrypoint(command)


def test_a_refusal_tells_what_to_write() -> None:
    with pytest.raises(ConfigError) as refusal:
        split_entrypoint("a 'b c' && d")
    wrapped = str(refusal.value).rpartition("write ")[2]
    assert split_entrypoint(wrapped) == ["bash", "-c", "a 'b c' && d"]


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), min_size=1
    )
)
def test_quoted_words_come_back(words: list[str]) -> None:
    command = shlex.join(["program", *words])
    assert split_entrypoint(command) == ["program", *words]


@pytest.mark.parametrize("name", ["a", "über mäßig", "a.b-c_d", "…", "job #1?&%", "a" * 128])
def test_identifiers_that_are_allowed(name: str) -> None:
    assert check_id(name, "submission_id") == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a/b", "a\\b", "..", ".", "a\nb", "a" * 129, "\ud800", 3, None]
)
def test_identifiers_that_are_refused(name: object) -> None:
    with pytest.raises(ConfigError, match="submission_id"):
        check_id(name, "submission_id")


@pytest.mark.parametrize("value", [{"a": 1}, {1: "a"}, "a", [("a", "b")], {"a": "x" * 70_000}])
def test_metadata_that_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="metadata must be"):
        check_metadata(value)
