"""Observers that are misspelt, cannot be imported or raise: none of them may stop a program that runs."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from shoal.errors import PluginBroken
from shoal.interfaces.hooks import hook_names, hookimpl
from shoal.registry.listeners import Listeners


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    @hookimpl
    def shoal_task_finished(self, event: object) -> None:
        self.seen.append(event)


class Raiser:
    """Counts how often it is asked, and fails."""

    calls = 0

    @hookimpl
    def shoal_task_finished(self, event: object) -> None:
        self.calls += 1
        raise ValueError("not today")

    @hookimpl
    def shoal_session_ended(self, event: object) -> None:
        self.calls += 1


def started(**observers: object) -> Listeners:
    listeners = Listeners(observers)
    listeners.start()
    return listeners


def test_observers_hear_in_the_order_they_were_registered() -> None:
    heard: list[str] = []

    def observer(name: str) -> object:
        def shoal_task_finished() -> None:
            heard.append(name)

        return SimpleNamespace(shoal_task_finished=hookimpl(shoal_task_finished))

    started(b=observer("b"), a=observer("a")).emit("shoal_task_finished", "event")
    assert heard == ["b", "a"]


def test_one_that_raises_is_logged_and_switched_off_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raiser, recorder = Raiser(), Recorder()
    listeners = started(raiser=raiser, recorder=recorder)
    with caplog.at_level(logging.ERROR, "shoal.plugins"):
        listeners.emit("shoal_task_finished", 1)
        listeners.emit("shoal_task_finished", 2)
        listeners.emit("shoal_session_ended", 3)
    assert recorder.seen == [1, 2]
    assert raiser.calls == 1
    assert caplog.messages == ["observer 'raiser' failed in shoal_task_finished and is now off"]
    assert "not today" in caplog.text
    assert listeners.listening("shoal_task_finished")
    assert not listeners.listening("shoal_session_ended")


def test_nobody_listening_is_no_work_and_no_error() -> None:
    listeners = started()
    listeners.emit("shoal_task_finished", None)
    assert not any(listeners.listening(hook) for hook in hook_names())


def test_a_misspelt_hook_is_an_error_at_start() -> None:
    def shoal_task_finnished(event: object) -> None:
        """Would never be called."""

    with pytest.raises(PluginBroken) as caught:
        started(typist=SimpleNamespace(shoal_task_finnished=hookimpl(shoal_task_finnished)))
    assert "unknown hook 'shoal_task_finnished' in plugin" in str(caught.value)
    assert str(caught.value).endswith(f"The hooks are {', '.join(hook_names())}.")


def test_an_argument_that_the_hook_does_not_have_is_an_error_at_start() -> None:
    def shoal_task_finished(event: object, colour: str) -> None:
        """Asks for more than there is."""

    with pytest.raises(PluginBroken, match="colour"):
        started(greedy=SimpleNamespace(shoal_task_finished=hookimpl(shoal_task_finished)))


def test_two_of_one_name_are_refused() -> None:
    listeners = Listeners({"a": Recorder()})
    with pytest.raises(PluginBroken, match="two observers are named 'a'"):
        listeners.register("a", Recorder())


def test_installed_observers_are_found_and_a_broken_one_is_left_out(
    fake_dist, caplog: pytest.LogCaptureFixture
) -> None:
    source = (
        "from shoal.interfaces.hooks import hookimpl\n"
        "seen = []\n"
        "class Watch:\n"
        "    @hookimpl\n"
        "    def shoal_task_finished(self, event):\n"
        "        seen.append(event)\n"
        "class Fussy:\n"
        "    def __init__(self):\n"
        "        raise OSError('no port is free')\n"
    )
    fake_dist(
        "watchers",
        "[shoal.hooks]\nwatch = watchers:Watch\nlost = watchers:Lost\nfussy = watchers:Fussy\n",
        source,
    )
    listeners = Listeners()
    listeners.find_installed()
    listeners.start()
    listeners.emit("shoal_task_finished", "event")
    import watchers  # type: ignore[import-not-found]

    assert watchers.seen == ["event"]
    assert [failure.found.name for failure in listeners.failures] == ["fussy", "lost"]
    assert "observer 'lost' (watchers:Lost of watchers 1.2) cannot be made and is left out" in caplog.text
    assert "no port is free" in caplog.text
