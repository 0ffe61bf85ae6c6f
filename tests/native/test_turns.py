"""Copies spread as a tree: few are sent an object at once, and others are sent to those who have it."""

from __future__ import annotations

import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.native.daemon.turns import Turns

OBJECT = b"o" * 20
SECONDS = 30


def never() -> None:
    raise AssertionError("it should not have to wait")


class Impatient(Exception):
    """Raised instead of waiting."""


def impatient() -> None:
    raise Impatient


def ask(turns: Turns) -> str | None:
    """Return what `enter` says, None if it would have to wait."""
    try:
        return turns.enter(OBJECT, impatient, step=0.0)
    except Impatient:
        return None


def test_two_are_sent_it_and_the_third_is_sent_to_one_of_them() -> None:
    turns = Turns()
    assert ask(turns) == ask(turns) == ""
    assert ask(turns) is None
    turns.leave(OBJECT, "one:1")
    assert ask(turns) == "one:1"  # the other is still being sent it
    turns.leave(OBJECT, "two:2")
    assert ask(turns) == ""  # nobody is


def test_those_who_have_it_take_turns() -> None:
    turns = Turns(width=3)
    assert [ask(turns) for _ in range(3)] == ["", "", ""]
    turns.leave(OBJECT, "one:1")
    turns.leave(OBJECT, "two:2")
    assert [ask(turns) for _ in range(4)] == ["one:1", "two:2", "one:1", "two:2"]


def test_objects_do_not_wait_for_each_other() -> None:
    turns = Turns(width=1)
    assert ask(turns) == ""
    assert turns.enter(b"p" * 20, never) == ""


def test_what_was_not_sent_makes_room_only() -> None:
    turns = Turns(width=1)
    assert ask(turns) == ""
    turns.leave(OBJECT, "")
    assert ask(turns) == ""


def test_who_has_had_it_for_long_is_not_believed_to_have_it() -> None:
    now = [0.0]
    turns = Turns(clock=lambda: now[0])
    assert ask(turns) == ask(turns) == ""
    turns.leave(OBJECT, "one:1")
    now[0] = 1000.0
    assert ask(turns) == ""  # the second place, and not the node of long ago


def test_whoever_waits_hears_of_the_first_copy_at_once() -> None:
    turns = Turns(width=1)
    assert ask(turns) == ""
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(turns.enter(OBJECT, lambda: None, step=SECONDS)))
    thread.start()
    deadline = time.monotonic() + SECONDS
    while not turns._objects[OBJECT].waiting:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    turns.leave(OBJECT, "one:1")
    thread.join(SECONDS / 2)
    assert answers == [""]  # nobody was being sent it any more


def test_after_long_it_is_everybodys_turn() -> None:
    turns = Turns(width=1)
    assert ask(turns) == ""
    told: list[None] = []
    assert turns.enter(OBJECT, lambda: told.append(None), step=0.01, most=0.03) == ""
    assert told


@given(st.lists(st.sampled_from(["ask", "sent", "failed"]), max_size=60), st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_no_more_than_the_width_are_sent_it_and_somebody_always_is(steps: list[str], width: int) -> None:
    turns = Turns(width)
    active = 0
    for number, step in enumerate(steps):
        if step == "ask":
            answer = ask(turns)
            if answer == "":
                active += 1
            assert answer == "" or active  # whoever waits or is sent on: somebody is being sent it
        elif active:
            turns.leave(OBJECT, f"node:{number}" if step == "sent" else "")
            active -= 1
        assert active <= width
