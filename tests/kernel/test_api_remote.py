"""The decorators, remote functions, actor classes and handles, over an engine that only takes notes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

import shoal
from shoal.api.signature import Arguments
from shoal.errors import ConfigError, NotInitialized
from shoal.interfaces.current import current
from shoal.interfaces.refs import ObjectRef
from shoal.spec.calls import ActorInfo


class Notes:
    """Takes the calls that the hot path makes, and nothing else."""

    closed = False

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def submit(self, template: Any, args: Any, kwargs: Any) -> Any:
        self.calls.append((template, args, kwargs))
        return "submitted"

    def create_actor(self, template: Any, args: Any, kwargs: Any) -> Any:
        self.calls.append((template, args, kwargs))
        info = ActorInfo(actor_id=b"a" * 16, class_name=template.class_name, methods=template.methods)
        return info, ObjectRef(bytes(20), self, self, lambda notes: notes.calls.append("dropped"))  # type: ignore[arg-type]

    def call_actor(self, info: Any, template: Any, args: Any, kwargs: Any) -> Any:
        self.calls.append((info, template, args, kwargs))
        return "called"


@pytest.fixture
def notes() -> Iterator[Notes]:
    taken = Notes()
    assert current.engine is None
    current.engine = taken  # type: ignore[assignment]
    yield taken
    current.engine = None


def plain(x: int, y: int = 0) -> int:
    """Has a docstring."""
    return x + y


class Actor:
    """Has one, too."""

    def __init__(self, start: int = 0) -> None: ...

    def work(self, x: int) -> int:
        return x


def test_every_way_to_decorate() -> None:
    for remote in (shoal.remote(plain), shoal.remote()(plain), shoal.remote(num_cpus=2)(plain)):
        assert isinstance(remote, shoal.RemoteFunction)
        assert remote.__wrapped__ is plain  # type: ignore[attr-defined]
        assert (plain.__name__, plain.__doc__) == (remote.__name__, remote.__doc__)  # type: ignore[attr-defined]
    for made in (shoal.remote(Actor), shoal.remote()(Actor), shoal.remote(max_restarts=2)(Actor)):
        assert isinstance(made, shoal.ActorClass)
        assert made.__wrapped__ is Actor
        assert (Actor.__name__, Actor.__doc__) == (made.__name__, made.__doc__)


@pytest.mark.parametrize("wrong", [5, "text", None, staticmethod(plain), [plain]])
def test_only_functions_and_classes_are_remote(wrong: Any) -> None:
    with pytest.raises(TypeError, match="function or a class"):
        shoal.remote(wrong)


def test_remote_takes_one_thing_once() -> None:
    with pytest.raises(TypeError, match="remote already"):
        shoal.remote(shoal.remote(plain))
    with pytest.raises(TypeError, match="remote already"):
        shoal.remote(shoal.remote(Actor))
    with pytest.raises(TypeError, match="one function or class"):
        shoal.remote(plain, plain)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="one function or class"):
        shoal.remote(plain, num_cpus=1)  # type: ignore[call-overload]


def test_method_is_for_functions_and_needs_an_option() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        shoal.method()
    with pytest.raises(TypeError, match="function in a class"):
        shoal.method(num_returns=2)(Actor)


def test_a_call_reaches_the_engine_with_the_one_template(notes: Notes) -> None:
    remote = shoal.remote(plain)
    assert [remote.remote(1), remote.remote(1, 2), remote.remote(x=1)] == ["submitted"] * 3  # type: ignore[comparison-overlap]
    templates = [template for template, _, _ in notes.calls]
    assert templates == [remote.template] * 3
    assert [call[1:] for call in notes.calls] == [((1,), {}), ((1, 2), {}), ((), {"x": 1})]
    assert remote.template is not remote.options(num_cpus=2).template


def test_wrong_arguments_never_reach_the_engine(notes: Notes) -> None:
    remote: Any = shoal.remote(plain)
    for args, kwargs in [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((1,), {"x": 2})]:
        with pytest.raises(TypeError, match=r"^plain\(x: 'int', y: 'int' = 0\)"):
            remote.remote(*args, **kwargs)
    with pytest.raises(TypeError, match=r"^Actor\("):
        shoal.remote(Actor).remote(1, 2)
    assert notes.calls == []


def test_methods_are_made_once_per_handle(notes: Notes) -> None:
    handle: Any = shoal.remote(Actor).remote(5)
    assert handle.work is handle.work
    assert handle.work.remote(1) == "called"
    with pytest.raises(TypeError, match=r"^Actor.work\(self, x: 'int'\)"):
        handle.work.remote()
    assert len(notes.calls) == 2


def test_the_lifetime_ends_with_the_handle_without_the_collector(notes: Notes) -> None:
    import gc

    gc.disable()
    try:
        handle: Any = shoal.remote(Actor).remote()
        method = handle.work
        handle.__shoal_ready__.remote()
        del handle
        assert "dropped" not in notes.calls
        del method
        assert notes.calls[-1] == "dropped"
    finally:
        gc.enable()


def test_options_of_a_method_leave_the_method_alone(notes: Notes) -> None:
    handle: Any = shoal.remote(Actor).remote()
    changed = handle.work.options(num_returns=3, name="shown", max_task_retries=2, retry_exceptions=True)
    changed.remote(1)
    template = notes.calls[-1][1]
    assert (
        template.num_returns,
        template.display_name,
        template.max_task_retries,
        template.retry_exceptions,
    ) == (3, "shown", 2, True)
    assert handle.work._template.num_returns == 1
    with pytest.raises(ConfigError, match="num_cpus"):
        handle.work.options(num_cpus=1)


def test_builtin_methods_are_calls_of_one_name(notes: Notes) -> None:
    handle: Any = shoal.remote(Actor).remote()
    for name in ("__shoal_ready__", "__ray_ready__", "__shoal_terminate__", "__ray_terminate__"):
        getattr(handle, name).remote()
        with pytest.raises(TypeError, match="no arguments"):
            getattr(handle, name).remote(1)
    handle.__shoal_call__.remote(plain, 1)
    assert {"__shoal_call__"} == {call[1].name for call in notes.calls[1:]}


def test_a_handle_looks_like_its_methods(notes: Notes) -> None:
    handle: Any = shoal.remote(Actor).remote()
    assert dir(handle) == ["work"]
    assert not hasattr(handle, "other")
    assert "Actor" in repr(handle)
    assert "Actor.work" in repr(handle.work)


def test_a_handle_without_a_session(notes: Notes) -> None:
    handle: Any = shoal.remote(Actor).remote()
    current.engine = None
    with pytest.raises(NotInitialized, match="session that has ended"):
        handle.work.remote(1)


def test_remote_functions_and_classes_can_be_pickled() -> None:
    function = pickle.loads(pickle.dumps(shoal.remote(num_cpus=3)(plain)))
    assert function.template.resources["CPU"] == 3
    made = pickle.loads(pickle.dumps(shoal.remote(max_restarts=3)(Actor)))
    assert made.template.max_restarts == 3


@pytest.mark.parametrize(
    ("function", "least", "most"),
    [
        (lambda: None, 0, 0),
        (lambda a, b: None, 2, 2),
        (lambda a, b=1: None, 1, 2),
        (lambda a, *rest: None, 1, None),
        (lambda a, *, b=1: None, 1, 1),
        (lambda a, /, b=1, **more: None, 1, 2),
    ],
)
def test_how_many_arguments_plainly_fit(function: Any, least: int, most: int | None) -> None:
    arguments = Arguments(function)
    assert least == arguments.least
    for count in range(6):
        fits = arguments.least <= count <= arguments.most
        assert fits == (count >= least and (most is None or count <= most))
        if fits:
            arguments.check((None,) * count, {}, "f")
        else:
            with pytest.raises(TypeError):
                arguments.check((None,) * count, {}, "f")


def _cases() -> Iterator[Any]:
    functions: list[Any] = [
        lambda: None,
        lambda a, b: None,
        lambda a, b=1: None,
        lambda a, *rest: None,
        lambda a, *, b: None,
        lambda a=0, *, b, c=1: None,
        lambda a, /, b: None,
        lambda a, /, b=1, **more: None,
        lambda **more: None,
    ]
    for index, function in enumerate(functions):
        for count in range(4):
            for names in ("", "a", "b", "c", "ab", "bc", "abc", "z", "bz"):
                yield pytest.param(function, count, names, id=f"{index}-{count}-{names}")


@pytest.mark.parametrize(("function", "count", "names"), list(_cases()))
def test_the_quick_check_agrees_with_the_call_itself(function: Any, count: int, names: str) -> None:
    args, kwargs = (0,) * count, dict.fromkeys(names, 0)
    arguments = Arguments(function)

    def fits() -> bool:
        if not kwargs and arguments.least <= count <= arguments.most:
            return True
        try:
            arguments.check(args, kwargs, "f")
        except TypeError:
            return False
        return True

    try:
        function(*args, **kwargs)
    except TypeError:
        assert not fits()
    else:
        assert fits()
