"""`import ray` means Shoal: names, types, modules that are not there, and what was there before."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal import compat, errors
from shoal.compat.table import MODULES, SAME_AS


@pytest.mark.usefixtures("alias")
class TestNames:
    def test_names_are_ours(self) -> None:
        import ray
        from ray.util.queue import Queue

        assert ray.get is shoal.get
        assert ray.ObjectRef is ray.ObjectID is shoal.ObjectRef
        assert ray.actor.ActorHandle is shoal.ActorHandle
        assert ray.remote_function.RemoteFunction is shoal.RemoteFunction
        assert Queue is importlib.import_module("shoal.util.queue").Queue
        assert ray.util.placement_group is shoal.placement_group

    def test_a_function_and_a_module_of_one_name(self) -> None:
        import ray
        from ray.util.placement_group import PlacementGroup, placement_group

        assert PlacementGroup is shoal.PlacementGroup
        assert ray.util.placement_group is placement_group

    def test_every_module_of_the_table_has_the_names_that_it_promises(self) -> None:
        for name in [*SAME_AS, *(name for name, sources in MODULES.items() if sources)]:
            module = importlib.import_module(name)
            promised = [item for item in module.__all__ if item not in ("dask",)]
            assert promised, name
            assert [item for item in promised if not hasattr(module, item)] == [], name
            assert set(promised) <= set(dir(module))

    def test_modules_travel_by_name(self) -> None:
        import ray.util

        assert pickle.loads(pickle.dumps(ray.util)) is ray.util

    @pytest.mark.parametrize(
        ("program", "nearest"),
        [
            ("import ray.no_such_module", "ray"),
            ("import ray.util.quue", "ray.util.queue"),
            ("from ray.util import ActorPol", "ray.util.ActorPool"),
            ("from ray import wat", "ray.wait"),
            ("from ray.exceptions import GetTimeoutErro", "ray.exceptions.GetTimeoutError"),
        ],
    )
    def test_what_is_not_there_says_so_and_names_the_nearest(self, program: str, nearest: str) -> None:
        with pytest.raises(ImportError, match=f"is not in Shoal yet; the nearest that is: {nearest}"):
            exec(program)

    def test_an_attribute_that_is_not_there(self) -> None:
        import ray

        with pytest.raises(AttributeError, match=r"ray\.puut is not in Shoal yet; .*: ray\.put\b"):
            _ = ray.puut
        assert not hasattr(ray, "puut")

    def test_errors_are_found_under_the_references_names(self) -> None:
        from ray import exceptions

        ours = [member for member in vars(errors).values() if isinstance(member, type)]
        ours = [member for member in ours if issubclass(member, shoal.exceptions.ShoalError)]
        assert all(issubclass(error, exceptions.RayError) for error in ours)
        theirs = [getattr(exceptions, name) for name in exceptions.__all__]
        assert all(issubclass(error, exceptions.RayError) for error in theirs)

    def test_program_constants(self) -> None:
        import ray

        assert ray.__version__.split(".")[0] == "2"
        assert ray.Language.PYTHON.name == "PYTHON"
        assert ray.UniqueID.from_random().hex() != ray.UniqueID.nil().hex()


@pytest.mark.usefixtures("alias")
@pytest.mark.processes
class TestPrograms:
    @pytest.fixture(autouse=True)
    def _ends(self) -> Any:
        yield
        shoal.shutdown()

    def test_tasks_import_ray_in_their_workers(self) -> None:
        import ray

        ray.init(num_cpus=2, num_gpus=0)

        @ray.remote
        def inner() -> int:
            return 1

        @ray.remote
        def outer() -> tuple[bool, int]:
            import ray.util.queue

            return ray.util.queue.Queue.__module__ == "shoal.util.queue", ray.get(inner.remote())

        assert ray.get(outer.remote()) == (True, 1)

    def test_isinstance_and_errors(self) -> None:
        import ray

        ray.init(num_cpus=1, num_gpus=0)

        @ray.remote
        def fail() -> None:
            raise KeyError("no")

        @ray.remote
        class Actor:
            def ping(self) -> int:
                return 1

        actor = Actor.remote()
        assert isinstance(actor, ray.actor.ActorHandle)
        assert ray.get(actor.__ray_ready__.remote())
        ref = fail.remote()
        assert isinstance(ref, ray.ObjectRef)
        with pytest.raises(ray.exceptions.RayTaskError):
            ray.get(ref)
        with pytest.raises(KeyError):
            ray.get(ref)
        ready, rest = ray.wait(ray_waitables=[ref], timeout=30)
        assert (ready, rest) == ([ref], [])
        ray.kill(actor)
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(actor.ping.remote())

    def test_init_takes_the_references_arguments(self) -> None:
        import ray

        config = ray.job_config.JobConfig(
            ray_namespace="of-the-job", runtime_env={"env_vars": {"MODE": "test"}}
        )
        with pytest.warns(UserWarning, match=r"left out of init\(\).*_system_config"):
            context = ray.init(
                num_cpus=1,
                num_gpus=0,
                dashboard_host="127.0.0.1",
                dashboard_port=0,
                include_dashboard=True,
                job_config=config,
                _system_config={"a": 1},
            )
        assert context["namespace"] == "of-the-job"
        assert context.dashboard_url.startswith("127.0.0.1:")
        mode = ray.remote(lambda: os.environ["MODE"])
        assert ray.get(mode.remote()) == "test"
        ray.shutdown()
        with pytest.raises(shoal.exceptions.ConfigError, match="nonsense"):
            ray.init(nonsense=1)

    def test_older_ways_to_connect(self) -> None:
        import ray

        with ray.client("local").namespace("older").connect() as context:
            assert context["namespace"] == "older"
        assert not ray.is_initialized()


@pytest.mark.processes
def test_functions_bring_the_alias_to_nodes_that_began_without_it() -> None:
    from shoal.cluster_utils import Cluster

    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
        assert cluster.remaining_processes_alive()
        compat.install()
        try:
            import ray

            @ray.remote
            def put_and_get(value: int) -> tuple[int, str]:
                return ray.get(ray.put(value)), ray.util.queue.Queue.__module__

            with ray.init(**cluster.init_arguments(), num_gpus=None):
                assert ray.get(put_and_get.remote(4), timeout=60) == (4, "shoal.util.queue")
        finally:
            compat.uninstall()


def test_variables_of_the_reference_are_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_NAMESPACE", "from-variable")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "500")
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "WARN")
    monkeypatch.setenv("RAY_TMPDIR", "/theirs")
    monkeypatch.setenv("SHOAL_TEMP_DIR", "/ours")
    before = dict(os.environ)
    compat.install()
    try:
        assert os.environ["SHOAL_NAMESPACE"] == "from-variable"
        assert os.environ["SHOAL_MEMORY_MONITOR_INTERVAL_SECONDS"] == "0.5"
        assert os.environ["SHOAL_LOG_LEVEL"] == "warning"
        assert os.environ["SHOAL_TEMP_DIR"] == "/ours"
    finally:
        compat.uninstall()
    assert dict(os.environ) == before


@pytest.fixture
def another_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """A distribution called ray that is really installed."""
    (package := tmp_path / "ray").mkdir()
    (package / "__init__.py").write_text("name = 'the real one'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ray", raising=False)

    def what_ray_is() -> str:
        module: Any = importlib.import_module("ray")
        return str(getattr(module, "name", "ours"))

    return what_ray_is


def test_an_installed_ray_stays_as_it_was(another_ray: Callable[[], str]) -> None:
    assert another_ray() == "the real one"
    real = sys.modules["ray"]
    compat.install()
    compat.install()  # again does nothing
    try:
        assert another_ray() == "ours"
        with compat.suspended():
            assert another_ray() == "the real one"
            assert sys.modules["ray"] is real
        assert another_ray() == "ours"
    finally:
        compat.uninstall()
    assert sys.modules["ray"] is real
    compat.uninstall()
    assert not compat.installed()


def test_without_the_alias_ray_is_not_ours() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import shoal, shoal.compat, sys; print('ray' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "False"
