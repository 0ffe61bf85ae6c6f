"""The engine's contract: sessions begin and end. Each test has its own."""

# mypy does not see what a decorator makes of a class (pyright does), and get() of a handle's call is Any.
# mypy: disable-error-code="attr-defined, no-any-return, unused-ignore"

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.errors import ActorUnschedulable, ConfigError, NotInitialized, TaskUnschedulable
from shoal.testing.engine_actors import Counter
from shoal.testing.engine_base import get, no_leaks_of


class EngineSessionContract:
    """init and shutdown over an engine. Override `engine_name`."""

    @pytest.fixture
    def engine_name(self) -> str:
        """Return the name under which the engine is registered. Implementers override it."""
        raise NotImplementedError("return the engine's name")

    @pytest.fixture(autouse=True)
    def _no_session_is_left(self, engine_name: str) -> Iterator[None]:
        assert not shoal.is_initialized()
        with no_leaks_of(engine_name):
            yield
            shoal.shutdown()

    def test_a_session_begins_and_ends(self, engine_name: str) -> None:
        context = shoal.init(engine=engine_name, num_cpus=2)
        assert shoal.is_initialized()
        assert engine_name == context["engine"]
        assert {"node_id", "session_name", "namespace"} <= set(context)
        assert context.address_info["node_id"] == shoal.get_runtime_context().get_node_id()
        shoal.shutdown()
        assert not shoal.is_initialized()
        shoal.shutdown()

    def test_a_second_init_is_refused_unless_ignored(self, engine_name: str) -> None:
        shoal.init(engine=engine_name, num_cpus=2)
        with pytest.raises(RuntimeError, match="ignore_reinit_error=True"):
            shoal.init(engine=engine_name)
        again = shoal.init(engine=engine_name, num_cpus=5, ignore_reinit_error=True)
        assert shoal.cluster_resources()["CPU"] == 2
        again.disconnect()
        assert not shoal.is_initialized()

    def test_sessions_one_after_the_other(self, engine_name: str) -> None:
        @shoal.remote
        def where() -> str:
            return shoal.get_runtime_context().get_session_name()

        counter = shoal.remote(Counter)
        names = []
        for i in range(3):
            with shoal.init(engine=engine_name, num_cpus=1):
                assert i + 1 == get(counter.remote(i).add.remote())
                names.append(get(where.remote()))
        assert len(names) == 3

    def test_references_and_handles_end_with_their_session(self, engine_name: str) -> None:
        with shoal.init(engine=engine_name, num_cpus=1):
            ref = shoal.put(1)
            counter = shoal.remote(Counter).remote()
        with pytest.raises(NotInitialized, match=r"init\(\)"):
            shoal.get(ref)
        assert not shoal.is_initialized(), "looking at an old reference must not begin a session"
        with shoal.init(engine=engine_name, num_cpus=1):
            for use in (lambda: shoal.get(ref), lambda: shoal.wait([ref]), lambda: shoal.cancel(ref)):
                with pytest.raises(NotInitialized, match="session that has ended"):
                    use()
            with pytest.raises(shoal.exceptions.ShoalError):
                get(counter.add.remote())

    @pytest.mark.parametrize(
        "wrong",
        [
            {"num_cpu": 1},
            {"num_cpus": -1},
            {"resources": {"x": -1}},
            {"scheduler": "no-such-scheduler"},
            {"engine": "no-such-engine"},
            {"include_dashboard": "perhaps"},
            {"dashboard_port": 70_000},
            {"dashboard_host": ""},
            {"namespace": ""},
            {"infeasible": "maybe"},
        ],
        ids=repr,
    )
    def test_wrong_settings_are_refused_and_nothing_stays(
        self, engine_name: str, wrong: dict[str, Any]
    ) -> None:
        with pytest.raises(ConfigError):
            shoal.init(**{"engine": engine_name, **wrong})
        assert not shoal.is_initialized()

    def test_an_option_of_the_scheduler_that_does_not_exist(self, engine_name: str) -> None:
        with pytest.raises(ConfigError):
            shoal.init(engine=engine_name, scheduler_options={"nonsense": 1})
        assert not shoal.is_initialized()

    def test_every_scheduler_works(self, engine_name: str) -> None:
        @shoal.remote
        def one() -> int:
            return 1

        for scheduler in ("hybrid", "binpack", "spread", "locality"):
            with shoal.init(engine=engine_name, num_cpus=1, scheduler=scheduler):
                assert get(one.remote()) == 1

    def test_what_can_never_run_is_refused_at_once_if_asked_for(self, engine_name: str) -> None:
        with shoal.init(engine=engine_name, num_cpus=2, infeasible="error"):

            @shoal.remote(num_cpus=3)
            def big() -> None: ...

            with pytest.raises(TaskUnschedulable, match="CPU"):
                get(big.remote())
            with pytest.raises(ActorUnschedulable, match="widget"):
                get(shoal.remote(Counter).options(resources={"widget": 1}).remote().add.remote())

    def test_labels_of_the_node(self, engine_name: str) -> None:
        with shoal.init(engine=engine_name, num_cpus=1, labels={"zone": "a"}, infeasible="error"):

            @shoal.remote
            def labels() -> dict[str, str]:
                return shoal.get_runtime_context().get_node_labels()

            assert get(labels.options(label_selector={"zone": "in(a, b)"}).remote())["zone"] == "a"
            assert shoal.nodes()[0]["Labels"]["zone"] == "a"
            with pytest.raises(TaskUnschedulable):
                get(labels.options(label_selector={"zone": "b"}).remote())

    def test_the_namespace_is_the_sessions(self, engine_name: str) -> None:
        with shoal.init(engine=engine_name, num_cpus=1, namespace="mine"):
            counter = shoal.remote(Counter).options(name="here").remote()
            get(counter.add.remote())
            assert shoal.list_named_actors(all_namespaces=True) == [{"namespace": "mine", "name": "here"}]

    def test_shutdown_with_work_under_way(self, engine_name: str, tmp_path: Path) -> None:
        shoal.init(engine=engine_name, num_cpus=2)

        @shoal.remote
        class Door:
            async def wait(self) -> None:
                import asyncio

                await asyncio.Event().wait()

        doors = [Door.remote() for _ in range(2)]
        refs = [door.wait.remote() for door in doors]
        assert ([], refs) == shoal.wait(refs, timeout=0)
        shoal.shutdown()
        with pytest.raises(NotInitialized):
            shoal.get(refs[0])

    def test_many_things_at_once_leave_nothing(self, engine_name: str) -> None:
        with shoal.init(engine=engine_name, num_cpus=2):

            @shoal.remote
            def make(i: int) -> Any:
                return [shoal.put(bytes(200_000)), i]

            counters = [shoal.remote(Counter).remote(i) for i in range(3)]
            refs = [make.remote(i) for i in range(20)]
            added = [
                counter.add.remote(make.options(num_returns=2).remote(i)[1])
                for i, counter in enumerate(counters)
            ]
            assert list(range(20)) == [item[1] for item in get(refs)]
            assert get(added) == [0, 2, 4]
