"""Workers in environments of their own: real ones, from the package index that this machine has."""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import shoal
from shoal.errors import ActorError, ConfigError, RuntimeEnvSetup

pytestmark = pytest.mark.processes
SECONDS = 100.0
# Small, of Python alone, without dependencies: two versions of one package.
OLD, NEW = "toolz==0.12.1", "toolz==1.0.0"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def session(cache: Path) -> Iterator[Path]:
    with shoal.init(engine="native", num_cpus=2, environment_cache_dir=str(cache)):
        yield cache


@shoal.remote(max_retries=0)
def look() -> dict[str, Any]:
    import cloudpickle

    try:
        import toolz

        version = toolz.__version__
    except ImportError:
        version = ""
    return {
        "version": version,
        "executable": sys.executable,
        "prefix": sys.prefix,
        "variable": os.environ.get("VIRTUAL_ENV", ""),
        "shoal": shoal.__file__,
        "cloudpickle": cloudpickle.__file__,
        "program": subprocess.run(
            ["python", "-c", "import sys, shoal; print(sys.prefix)"], capture_output=True, text=True
        ).stdout.strip(),
    }


@shoal.remote(num_cpus=0)
class Looker:
    def version(self) -> str:
        import toolz

        return str(toolz.__version__)

    def child(self) -> str:
        return str(shoal.get(look.remote(), timeout=SECONDS)["version"])


def made(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.is_dir())


def test_packages_of_a_task(session: Path) -> None:
    import cloudpickle

    found = shoal.get(look.options(runtime_env={"uv": [OLD]}).remote(), timeout=SECONDS)
    assert found["version"] == "0.12.1"
    assert Path(found["prefix"]).is_relative_to(session)
    assert found["executable"] == str(Path(found["prefix"]) / "bin" / "python")
    assert found["variable"] == found["prefix"] == found["program"]
    # The node's, so that both ends pickle alike.
    assert (found["shoal"], found["cloudpickle"]) == (shoal.__file__, cloudpickle.__file__)
    assert shoal.get(look.remote(), timeout=SECONDS)["executable"] == sys.executable


def test_actors_and_their_tasks(session: Path) -> None:
    actor = Looker.options(runtime_env={"pip": {"packages": [NEW], "pip_check": True}}).remote()
    assert shoal.get(actor.version.remote(), timeout=SECONDS) == "1.0.0"
    assert shoal.get(actor.child.remote(), timeout=SECONDS) == "1.0.0"
    before = made(session)
    again = Looker.options(runtime_env={"pip": [NEW]}).remote()
    assert shoal.get(again.version.remote(), timeout=SECONDS) == "1.0.0"
    assert len(made(session)) == len(before) + 1  # checked and unchecked are two values
    third = Looker.options(runtime_env={"pip": {"packages": [NEW]}}).remote()
    assert shoal.get(third.version.remote(), timeout=SECONDS) == "1.0.0"
    assert len(made(session)) == len(before) + 1


@pytest.mark.slow
def test_pip_itself_with_its_options(session: Path, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"# what we need\n\n{OLD}  # old\n")
    environment = {
        "packages": str(requirements),
        "pip_version": ">=23,<27",
        "pip_install_options": ["--no-deps", "--no-compile"],
    }
    found = shoal.get(look.options(runtime_env={"pip": environment}).remote(), timeout=SECONDS)
    assert found["version"] == "0.12.1"
    assert "pip" in os.listdir(
        Path(found["prefix"]) / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    )


@pytest.mark.slow
def test_a_version_of_uv(session: Path) -> None:
    environment = {"packages": [OLD], "uv_version": ">=0.8", "uv_check": True}
    found = shoal.get(look.options(runtime_env={"uv": environment}).remote(), timeout=SECONDS)
    assert found["version"] == "0.12.1"


def test_an_installer_that_fails_says_why(session: Path) -> None:
    before = made(session)
    bad = look.options(runtime_env={"uv": [f"{OLD.partition('=')[0]}==999.0"]})
    with pytest.raises(
        RuntimeEnvSetup, match=r"(?s)runtime_env\['uv'\]: uv failed \(exit code .*toolz==999\.0"
    ):
        shoal.get(bad.remote(), timeout=SECONDS)
    actor = Looker.options(runtime_env={"pip": ["./no/such/package"]}).remote()
    with pytest.raises((RuntimeEnvSetup, ActorError), match="no/such/package"):
        shoal.get(actor.version.remote(), timeout=SECONDS)
    assert made(session) == before


def test_many_at_once_make_it_once(session: Path) -> None:
    environment = {"uv": [NEW], "env_vars": {"WHO": "many"}}
    before = made(session)
    refs = [
        look.options(runtime_env={**environment, "env_vars": {"WHO": str(i % 3)}}).remote() for i in range(6)
    ]
    assert {found["version"] for found in shoal.get(refs, timeout=SECONDS)} == {"1.0.0"}
    assert len(made(session)) == len(before) + 1


def test_a_builder_that_is_killed_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    """A node that dies while its installer runs: the next one begins anew."""
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "setup.py").write_text(
        "import os, pathlib, time\n"
        f"started = pathlib.Path({str(tmp_path)!r}) / 'started'\n"
        "if not started.exists():\n"
        "    started.write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
        "from setuptools import setup\n"
        "setup(name='slowly-made', version='1.0', py_modules=['slowly_made'])\n"
    )
    (slow / "slowly_made.py").write_text("WHOLE = True\n")
    cache = tmp_path / "cache"
    program = (
        "import shoal, sys\n"
        f"shoal.init(num_cpus=1, environment_cache_dir={str(cache)!r}, runtime_env={{'uv': [{str(slow)!r}]}})\n"
        "@shoal.remote\n"
        "def ask():\n"
        "    import slowly_made\n"
        "    return slowly_made.WHOLE\n"
        "print(shoal.get(ask.remote()), flush=True)\n"
        "shoal.shutdown()\n"
    )
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py")]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: (tmp_path / "started").exists())
        others = psutil.Process(first.pid).children(recursive=True)
        installer = psutil.Process(int((tmp_path / "started").read_text()))
        daemons = [one for one in others if "shoal.native.daemon.main" in " ".join(one.cmdline())]
        assert daemons
        for daemon in daemons:
            daemon.kill()
        assert len(made(cache)) == 1
        assert not list(cache.glob("*.json"))
    finally:
        first.kill()
        first.wait(SECONDS)
        assert first.stdout is not None
        first.stdout.close()
    # What the installer had started may still run; the half environment is thrown away by whoever comes next.
    half = made(cache)
    began = time.monotonic()
    second = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert second.stdout.strip() == "True", second.stderr
    assert time.monotonic() - began < 50, "it waited for the first one's installer"
    assert len(made(cache)) == 1
    assert made(cache) != half
    with contextlib.suppress(psutil.NoSuchProcess):
        installer.kill()


def wait_for(done: Any) -> None:
    end = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_time_is_bounded(session: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "setup.py").write_text("import time\nprint('begins', flush=True)\ntime.sleep(60)\n")
    environment = {"uv": [str(slow)], "config": {"setup_timeout_seconds": 2}}
    began = time.monotonic()
    with pytest.raises(RuntimeEnvSetup, match="was not ready within 2 s"):
        shoal.get(look.options(runtime_env=environment).remote(), timeout=SECONDS)
    assert time.monotonic() - began < 30


def test_hooks(session: Path, tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")

    def hook() -> None:
        os.environ["HOOKED"] = mark

    @shoal.remote(max_retries=0)
    def hooked() -> str:
        return os.environ.get("HOOKED", "")

    assert (
        shoal.get(hooked.options(runtime_env={"worker_process_setup_hook": hook}).remote(), timeout=SECONDS)
        == mark
    )
    both = {"worker_process_setup_hook": hook, "uv": [OLD]}
    assert shoal.get(hooked.options(runtime_env=both).remote(), timeout=SECONDS) == mark
    bad = hooked.options(runtime_env={"worker_process_setup_hook": "os.path.no_such_function"})
    with pytest.raises(RuntimeEnvSetup, match="no_such_function"):
        shoal.get(bad.remote(), timeout=SECONDS)


def test_modules_that_are_there_when_a_worker_begins(session: Path) -> None:
    @shoal.remote(max_retries=0)
    def loaded(name: str) -> bool:
        import sys

        return name in sys.modules

    module = "this_is_nowhere"
    warm = loaded.options(runtime_env={"preload": ["wave", module]})
    assert not shoal.get(loaded.remote("wave"), timeout=SECONDS)
    assert shoal.get(warm.remote("wave"), timeout=SECONDS)
    assert not shoal.get(warm.remote(module), timeout=SECONDS)


def test_another_interpreter(session: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True, timeout=SECONDS)
    command = f"{other / 'bin' / 'python'} -X dev"
    found = shoal.get(look.options(runtime_env={"py_executable": command}).remote(), timeout=SECONDS)
    assert found["prefix"] == str(other)
    bad = look.options(runtime_env={"py_executable": "/no/such/python"})
    with pytest.raises(RuntimeEnvSetup, match="no program '/no/such/python'"):
        shoal.get(bad.remote(), timeout=SECONDS)
    unfit = look.options(runtime_env={"py_executable": "/bin/false"})
    with pytest.raises(RuntimeEnvSetup, match="exit code 1"):
        shoal.get(unfit.remote(), timeout=SECONDS)


def test_a_session_whose_environment_has_packages(tmp_path: Path) -> None:
    """In a process of its own: this one has a session. Made early, and given way to by a task's own packages."""
    cache = tmp_path / "cache"
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, shoal, sys, time\n"
        "@shoal.remote\n"
        "def version():\n"
        "    import toolz\n"
        "    return toolz.__version__\n"
        f"cache = pathlib.Path({str(cache)!r})\n"
        f"environment = {{'pip': [{OLD!r}], 'env_vars': {{'A': '1'}}}}\n"
        "with shoal.init(num_cpus=1, environment_cache_dir=str(cache), runtime_env=environment):\n"
        "    end = time.monotonic() + 60\n"
        "    while not list(cache.glob('*.json')):\n"
        "        assert time.monotonic() < end\n"
        "        time.sleep(0.01)\n"
        "    print(shoal.get(version.remote()))\n"
        f"    print(shoal.get(version.options(runtime_env={{'uv': [{NEW!r}]}}).remote()))\n"
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.stdout.split() == ["0.12.1", "1.0.0"], done.stderr


@pytest.mark.slow
def test_what_no_worker_uses_any_more_may_be_removed(tmp_path: Path) -> None:
    """In a process of its own: this one has a session. Its cache has no room beside what is in use."""
    cache = tmp_path / "cache"
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, shoal, time\n"
        "@shoal.remote\n"
        "def version():\n"
        "    import toolz\n"
        "    return toolz.__version__\n"
        f"cache = pathlib.Path({str(cache)!r})\n"
        "def count():\n"
        "    return len(list(cache.glob('*.json')))\n"
        "settings = {'environment_cache_dir': str(cache), 'environment_cache_bytes': 0, 'idle_worker_seconds': 0.2}\n"
        "with shoal.init(num_cpus=1, **settings):\n"
        f"    old = version.options(runtime_env={{'uv': [{OLD!r}]}})\n"
        f"    new = version.options(runtime_env={{'uv': [{NEW!r}]}})\n"
        "    print(shoal.get(old.remote()), shoal.get(new.remote()), count())\n"
        "    end = time.monotonic() + 60\n"
        "    while count() > 1:\n"  # one idle worker stays
        "        assert time.monotonic() < end\n"
        "        time.sleep(0.1)\n"
        "    print(shoal.get(old.remote()))\n"
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.stdout.split() == ["0.12.1", "1.0.0", "2", "0.12.1"], done.stderr


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a folder on this machine, by HTTP."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None: ...

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    try:
        with zipfile.ZipFile(folder / "program.zip", "w") as archive:
            archive.writestr("program-1.0/data.txt", "from the server")
            archive.writestr("program-1.0/inside.py", "WORD = 'imported'")
        with zipfile.ZipFile(folder / "lib.zip", "w") as archive:
            archive.writestr("fetched_lib/__init__.py", "WORD = 'library'")
        yield f"http://127.0.0.1:{serving.server_address[1]}"
    finally:
        serving.shutdown()
        thread.join()
        serving.server_close()


def test_archives_at_addresses(session: Path, server: str, tmp_path: Path) -> None:
    @shoal.remote(max_retries=0)
    def read() -> tuple[str, str]:
        import inside  # type: ignore[import-not-found]

        return Path("data.txt").read_text(), inside.WORD

    @shoal.remote(max_retries=0)
    def word() -> str:
        import fetched_lib  # type: ignore[import-not-found]

        return str(fetched_lib.WORD)

    wanted = ("from the server", "imported")
    by_http = read.options(runtime_env={"working_dir": f"{server}/program.zip"})
    assert shoal.get(by_http.remote(), timeout=SECONDS) == wanted
    by_file = read.options(runtime_env={"working_dir": f"file://{tmp_path}/served/program.zip"})
    assert shoal.get(by_file.remote(), timeout=SECONDS) == wanted
    assert (
        shoal.get(word.options(runtime_env={"py_modules": [f"{server}/lib.zip"]}).remote(), timeout=SECONDS)
        == "library"
    )
    missing = read.options(runtime_env={"working_dir": f"{server}/none.zip"})
    with pytest.raises(RuntimeEnvSetup, match=r"none\.zip cannot be fetched: HTTPError: HTTP Error 404"):
        shoal.get(missing.remote(), timeout=SECONDS)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"pip": [OLD], "uv": [NEW]}, "can have only one of them"),
        ({"pip": "/no/such/requirements.txt"}, "cannot be read"),
        ({"pip": ["-r other.txt"]}, "names another file"),
        ({"uv": {"packages": [OLD], "pip_check": True}}, "has no key pip_check"),
        ({"uv": {"packages": [OLD], "uv_version": "newest"}}, "which versions will do"),
        ({"uv": []}, "names no packages"),
        ({"config": {"setup_timeout_seconds": 0}}, "whole number of seconds"),
        ({"config": {"eager": True}}, "has no key eager"),
        ({"working_dir": "http://example.com/program.zip"}, "use https"),
        ({"working_dir": "https://example.com/program"}, r"must lead to a \.zip file"),
        ({"working_dir": {"path": "https://example.com/a.zip", "excludes": ["x"]}}, "nothing of an archive"),
        ({"container": {"image": "python:3.11", "run_options": ["--rm"]}}, "cannot have '--rm'"),
        ({"image_uri": "python 3.11"}, "must be the name of an image"),
        ({"conda": {"dependencies": ["python"]}, "image_uri": "python:3.11"}, "can have only one of them"),
        ({"worker_process_setup_hook": "just text"}, "must be a function"),
        ({"py_executable": "python 'x"}, "is no command"),
        ({"preload": "torch"}, "must be a list of modules' names"),
        ({"preload": ["os; exit()"]}, "must be a list of modules' names"),
    ],
)
def test_what_is_refused_at_the_call(session: Path, environment: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        look.options(runtime_env=environment).remote()
