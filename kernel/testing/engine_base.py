"""What the parts of the engine's contract share: one session for a class, gates, and the check that nothing is left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

import shoal
from shoal.interfaces.current import current
from shoal.registry.drivers import load_driver
from shoal.registry.groups import ENGINES
from shoal.testing.engine_gates import SECONDS, Gate, Marks
from shoal.testing.leaks import no_leaks

F = TypeVar("F", bound=Callable[..., Any])

_NEEDS = "shoal_needs"
SETTINGS: dict[str, Any] = {"num_cpus": 4, "resources": {"widget": 2}, "namespace": "contract"}


def get(refs: Any) -> Any:
    """Get with the suite's bound: nothing here may wait for ever."""
    return shoal.get(refs, timeout=SECONDS)


class EnginePart:
    """A part of the contract. Its tests share one session; `engine_name` says of which engine."""

    _open: ClassVar[contextlib.ExitStack | None] = None

    @pytest.fixture
    def engine_name(self) -> str:
        """Return the name under which the engine is registered. Implementers override it."""
        raise NotImplementedError("return the engine's name")

    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        """Return further arguments of init."""
        return {}

    @pytest.fixture(autouse=True)
    def session(self, engine_name: str, settings: dict[str, Any]) -> None:
        """Begin the session with the first test of the class; it ends with the last."""
        cls = type(self)
        if cls._open is None:
            with contextlib.ExitStack() as stack:
                stack.enter_context(no_leaks_of(engine_name))
                stack.enter_context(shoal.init(engine=engine_name, **{**SETTINGS, **settings}))
                cls._open = stack.pop_all()

    @classmethod
    def teardown_class(cls) -> None:
        """End the session; no process, no thread and no descriptor of it is left."""
        stack, cls._open = cls._open, None
        if stack is not None:
            stack.close()
            assert not shoal.is_initialized()

    @pytest.fixture(autouse=True)
    def _needs(self, request: pytest.FixtureRequest, session: None) -> None:
        assert current.engine is not None
        missing = sorted(getattr(request.function, _NEEDS, frozenset()) - current.engine.capabilities)
        if missing:
            pytest.skip(f"engine {current.engine.name!r} has no {', '.join(missing)}")

    @pytest.fixture
    def gate(self, tmp_path: Path) -> Iterator[Gate]:
        """A closed gate; it opens at the end of the test whatever happens, so that no task stays behind it."""
        gate = Gate(str(tmp_path / "gate"))
        yield gate
        gate.open()

    @pytest.fixture
    def marks(self, tmp_path: Path) -> Marks:
        """No marks yet."""
        return Marks(str(tmp_path / "marks"))


def has(capability: str) -> bool:
    """Tell whether the engine of this session declares a capability."""
    return current.engine is not None and capability in current.engine.capabilities


def no_leaks_of(engine_name: str) -> contextlib.AbstractContextManager[None]:
    """Watch that a session leaves no process, and with "clean_close" no thread and no descriptor either."""
    clean = "clean_close" in load_driver(ENGINES, engine_name).capabilities
    return no_leaks(shared_prefix=None, processes_only=not clean)


def needs(*capabilities: str) -> Callable[[F], F]:
    """Skip the test on engines without these capabilities, saying so."""

    def keep(test: F) -> F:
        setattr(test, _NEEDS, frozenset(capabilities))
        return test

    return keep
