"""The engine `ray` beyond the contract: joining a Ray that runs, libraries of ours on it, and being without Ray."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.errors import ConfigError, SystemFailure

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60

RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra `ray`)")

CLUSTER = """
import ray
context = ray.init(num_cpus=2, resources={"there": 3}, include_dashboard=False)
print("ADDRESS", context.address_info["address"], flush=True)
input()
ray.shutdown()
"""


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[str]:
    """A Ray that another process started; its address. Ray's tokens are asked for, as they are by default."""
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process,
    ):
        patch.setenv("RAY_AUTH_MODE", "token")
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            address = ""
            for line in process.stdout:
                if line.startswith("ADDRESS "):
                    address = line.split()[1]
                    break
            assert address, "Ray did not come up"
            yield address
        finally:
            process.stdin.write("\n")
            process.stdin.close()
            process.wait(SECONDS)


@pytest.fixture(scope="class")
def session(running_cluster: str) -> Iterator[None]:
    with shoal.init(engine="ray", address=running_cluster, namespace="joined"):
        yield


@RAY
@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.usefixtures("session")
class TestJoined:
    """One session on a Ray that runs already."""

    def test_its_resources_are_there(self) -> None:
        assert shoal.cluster_resources()["there"] == 3

    def test_ray_itself_sees_our_work(self) -> None:
        ray: Any = importlib.import_module("ray")

        @shoal.remote
        class Seen:
            def one(self) -> int:
                return 1

        seen: Any = Seen.options(name="seen by ray").remote()  # type: ignore[attr-defined]
        assert shoal.get(seen.one.remote(), timeout=SECONDS) == 1
        assert "seen by ray" in ray.util.list_named_actors()

    def test_queues_pools_and_joblib_run_on_it(self) -> None:
        import joblib

        from shoal.util import ActorPool
        from shoal.util.joblib import register_shoal
        from shoal.util.multiprocessing import Pool
        from shoal.util.queue import Queue

        queue: Any = Queue(maxsize=10)

        @shoal.remote(num_cpus=0)
        def fill(queue: Any) -> None:
            queue.put("from a task")

        shoal.get(fill.remote(queue), timeout=SECONDS)
        assert queue.get(timeout=SECONDS) == "from a task"
        queue.shutdown()

        class Doubler:
            def double(self, x: int) -> int:
                return 2 * x

        pool = ActorPool([shoal.remote(Doubler).options(num_cpus=0).remote() for _ in range(2)])
        assert sorted(pool.map(lambda actor, x: actor.double.remote(x), range(4))) == [0, 2, 4, 6]
        with Pool(1) as processes:
            assert processes.map(abs, [-1, -2]) == [1, 2]
        register_shoal()
        with joblib.parallel_config(backend="shoal", n_jobs=1):
            assert joblib.Parallel()(joblib.delayed(abs)(-i) for i in range(3)) == [0, 1, 2]

    def test_a_durable_actor_is_refused(self) -> None:
        class Kept:
            pass

        with pytest.raises(ConfigError, match="durable"):
            shoal.remote(Kept).options(durable=True).remote()

    def test_an_actor_that_ray_made_is_named_as_such(self) -> None:
        ray: Any = importlib.import_module("ray")

        class Plain:
            pass

        keep = ray.remote(Plain).options(name="plain", num_cpus=0).remote()
        with pytest.raises(ValueError, match="made by Ray itself"):
            shoal.get_actor("plain")
        assert keep is not None


@RAY
@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        ("127.0.0.1:1", SystemFailure, "no Ray cluster can be reached at 127.0.0.1:1"),
        ("ray://127.0.0.1:10001", ConfigError, "pass HOST:PORT"),
        ("somewhere", ConfigError, "pass HOST:PORT"),
    ],
)
def test_an_address_where_nobody_is(address: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        shoal.init(engine="ray", address=address)
    assert not shoal.is_initialized()


@RAY
@pytest.mark.slow
@pytest.mark.processes
def test_the_programs_of_the_page_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "on_ray.md").read_text()
    programs = re.findall(r"```python\n(.*?)```\n.*?```output\n(.*?)```", page, flags=re.S)
    assert programs
    for number, (program, output) in enumerate(programs):
        file = tmp_path / f"program_{number}.py"
        file.write_text(program)
        done = subprocess.run(
            [sys.executable, str(file)], capture_output=True, text=True, timeout=SECONDS * 2, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == output


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match="pip install"):
        shoal.init(engine="ray")
    assert not shoal.is_initialized()


def test_the_alias_of_compat_is_not_taken_for_ray() -> None:
    import shoal.compat

    if "ray" in sys.modules:
        pytest.skip("Ray was imported already, so the alias leaves it alone")
    shoal.compat.install()
    try:
        with pytest.raises(ConfigError, match="alias"):
            shoal.init(engine="ray")
    finally:
        shoal.compat.uninstall()
    assert not shoal.is_initialized()
