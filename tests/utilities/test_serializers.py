"""Serializers of a program's own, and finding out why a value cannot travel."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest

import shoal
from shoal.util import deregister_serializer, inspect_serializability, register_serializer

pytestmark = pytest.mark.usefixtures("session")


class Handle:
    """Holds what cannot be pickled."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = threading.Lock()


def test_a_registered_class_travels_as_argument_result_and_object() -> None:
    register_serializer(Handle, serializer=lambda handle: handle.path, deserializer=Handle)
    try:

        @shoal.remote
        def path_of(handle: Handle) -> str:
            return handle.path + ("locked" if handle.lock.acquire(False) else "")

        assert shoal.get(path_of.remote(Handle("/a"))) == "/alocked"
        found = shoal.get(shoal.put([Handle("/b")]))
        assert found[0].path == "/b"
    finally:
        deregister_serializer(Handle)
    with pytest.raises(TypeError, match="lock"):
        shoal.put(Handle("/c"))
    deregister_serializer(Handle)  # again does nothing


@pytest.mark.parametrize(
    ("cls", "options", "error"),
    [
        (Handle("/a"), {"serializer": str, "deserializer": str}, TypeError),
        (Handle, {"serializer": 1, "deserializer": str}, TypeError),
        (Handle, {"serializer": str, "deserializer": None}, TypeError),
        (dict, {"serializer": str, "deserializer": str}, ValueError),
    ],
)
def test_wrong_serializers(cls: Any, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        register_serializer(cls, **options)


def test_inspection_finds_every_part_at_fault() -> None:
    lock, other = threading.Lock(), threading.Lock()

    def uses_both() -> tuple[Any, Any]:
        return lock, other

    out = io.StringIO()
    fine, failures = inspect_serializability(uses_both, name="uses_both", print_file=out)
    assert not fine
    assert {failure.obj for failure in failures} == {lock, other}
    assert all(failure.path[0] == "uses_both" and failure.parent is uses_both for failure in failures)
    assert "captured variable 'lock'" in out.getvalue()


def test_inspection_of_what_is_fine() -> None:
    out = io.StringIO()
    assert inspect_serializability([1, "a"], print_file=out) == (True, set())
    assert out.getvalue() == "[1, 'a'] can be pickled.\n"
    with pytest.raises(ValueError, match="depth"):
        inspect_serializability(1, depth=0)


def test_inspection_prints_where_one_looks(capsys: pytest.CaptureFixture[str]) -> None:
    inspect_serializability(threading.Lock(), name="it")
    assert capsys.readouterr().out.startswith("it cannot be pickled.")
