"""The command line as a whole: verbs, help, exit statuses, completion, what is imported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from shoal.cli.main import OWN, build

SHOAL = str(Path(sysconfig.get_path("scripts")) / "shoal")
GROUP = build()
VERBS = GROUP.list_commands(click.Context(GROUP))


@pytest.fixture
def shoal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(build(), list(words), catch_exceptions=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the shape of a checkout, whose benchmark only shows how it was called."""
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "kernel" / "cli").mkdir(parents=True)
    (tmp_path / "below").mkdir()
    (tmp_path / "benchmarks" / "run.py").write_text(
        "import json, os, pathlib, sys\n"
        "print('measuring', os.getcwd(), *sys.argv[1:])\n"
        "pathlib.Path('benchmarks/results/latest.json').write_text(json.dumps({'rows': sys.argv[1:]}))\n"
        "sys.exit(7 if '--fail' in sys.argv else 0)\n"
    )
    return tmp_path


def run(*words: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SHOAL, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_json(verb: str, shoal) -> None:
    command = GROUP.get_command(click.Context(GROUP), verb)
    assert command is not None
    several = command.commands.values() if isinstance(command, click.Group) else [command]
    for one in several:
        assert "--json" in {word for option in one.params for word in option.opts}
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    done = shoal(verb, "--help")
    assert done.exit_code == 0
    assert f"Usage: shoal {verb}" in done.output


@pytest.mark.parametrize("verb", sorted(OWN))
def test_the_list_says_what_the_verb_says(verb: str) -> None:
    command = GROUP.get_command(click.Context(GROUP), verb)
    assert command is not None
    assert OWN[verb][1] == (command.help or "").partition("\n")[0]


def test_help_lists_every_verb(shoal) -> None:
    listed = re.findall(r"^  ([\w-]+)  ", shoal("--help").output.partition("Commands:")[2], re.MULTILINE)
    assert listed == VERBS
    assert {"bench", "completion", "config", "demo", "logs", "plugins", "sessions", "stack"} <= set(listed)


def test_a_slip_of_the_finger_is_recognised() -> None:
    done = run("plugin")
    assert done.returncode == 2
    assert "No such command 'plugin'. Did you mean 'plugins'?" in done.stderr
    assert run("config", "--jsn").returncode == 2


def test_exit_statuses(tmp_path: Path) -> None:
    assert run("config", cwd=tmp_path).returncode == 0
    failed = run("config", SHOAL_NUM_CPUS="many")
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: num_cpus must be")
    assert failed.stdout == ""
    assert run("--no-such-option").returncode == 2


def test_whoever_stops_reading_is_told_nothing() -> None:
    with subprocess.Popen(
        [SHOAL, "config", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as printing:
        assert printing.stdout is not None
        assert printing.stderr is not None
        printing.stdout.close()
        assert printing.stderr.read() == b""
        assert printing.wait(30) == 1


def test_a_verb_of_ours_looks_for_no_plugins() -> None:
    code = (
        "import sys; sys.argv = ['shoal', 'config']\n"
        "from shoal.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded', *sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stderr.split())
    assert {
        "shoal.registry.discover",
        "stevedore",
        "pluggy",
        "shoal.cli.demo",
        "shoal.native",
    } & loaded == set()


def test_the_list_of_verbs_loads_no_engine() -> None:
    code = (
        "import sys; sys.argv = ['shoal', '--help']\n"
        "from shoal.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded', *sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stderr.split())
    assert "shoal.native.commands.start" in loaded
    assert {"shoal.native.client", "shoal.native.process.node", "grpc", "msgspec", "pluggy"} & loaded == set()


def test_secrets_are_not_shown(shoal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_METADATA_OPTIONS", '{"password": "hunter2", "user": "me"}')
    for words in ([], ["--json"]):
        printed = shoal("config", *words).output
        assert "hunter2" not in printed
        assert "(hidden)" in printed
        assert "me" in printed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shoal, shell: str) -> None:
    script = shoal("completion", shell).output
    assert f"_SHOAL_COMPLETE={shell}_complete" in script
    assert json.loads(shoal("completion", shell, "--json").output) == {"shell": shell, "script": script[:-1]}


def test_bash_takes_the_script() -> None:
    code = 'eval "$(shoal completion bash)"; complete -p shoal; COMP_WORDS=(shoal conf) COMP_CWORD=1; ' + (
        '_shoal_completion shoal conf shoal; echo "${COMPREPLY[@]}"'
    )
    path = os.pathsep.join([os.path.dirname(SHOAL), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PATH": path},
    )
    assert "_shoal_completion shoal" in done.stdout
    assert done.stdout.splitlines()[-1] == "config"


def test_completion_knows_verbs_and_options() -> None:
    words = {"COMP_WORDS": "shoal ", "COMP_CWORD": "1"}
    done = run(_SHOAL_COMPLETE="bash_complete", **words)
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == VERBS
    words = {"COMP_WORDS": "shoal demo --en", "COMP_CWORD": "2"}
    assert run(_SHOAL_COMPLETE="bash_complete", **words).stdout == "plain,--engine\n"


def test_bench_runs_the_benchmark_of_the_checkout(checkout: Path) -> None:
    done = run("bench", "--quick", "--rows", "tasks", cwd=checkout / "below")
    assert done.returncode == 0
    assert done.stdout == f"measuring {checkout} --quick --rows tasks\n"
    assert run("bench", "--fail", cwd=checkout).returncode == 7
    as_json = run("bench", "--json", "--quick", cwd=checkout)
    assert json.loads(as_json.stdout) == {"rows": ["--quick", "--write"]}
    assert "measuring" in as_json.stderr


def test_without_a_checkout_bench_says_how(tmp_path: Path) -> None:
    done = run("bench", cwd=tmp_path)
    assert done.returncode == 1
    assert f"there is no checkout of Shoal in {tmp_path}" in done.stderr
    assert "make bench" in done.stderr


def test_demo_as_json(shoal) -> None:
    found = json.loads(shoal("demo", "--engine", "inline", "--files", "3", "--json").output)
    assert (found["engine"], found["files"], found["agrees"]) == ("inline", 3, True)
    assert sum(found["kinds"].values()) == found["tokens"] == sum(one["tokens"] for one in found["places"])


def test_a_package_adds_a_verb(shoal, fake_dist) -> None:
    source = "import click\n@click.command()\ndef greet():\n    '''Say hello.'''\n    click.echo('hello')\n"
    fake_dist("greeter", "[shoal.commands]\ngreet = greeter:greet\n", source)
    assert shoal("greet").output == "hello\n"
    assert re.search(r"^  greet +Say hello\.$", shoal("--help").output, re.MULTILINE)
    rows = json.loads(shoal("plugins", "--json").stdout)
    assert ("shoal.commands", "greet", "ok") in {(row["group"], row["name"], row["state"]) for row in rows}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_module_at_all", "cannot be imported: ModuleNotFoundError"),
        ("def greet(): pass", "must be a click.Command, but is <function greet"),
    ],
)
def test_a_broken_verb_breaks_no_other(shoal, fake_dist, source: str, words: str) -> None:
    fake_dist("greeter", "[shoal.commands]\ngreet = greeter:greet\n", source + "\n")
    done = shoal("greet")
    assert done.exit_code == 1
    assert words in done.output
    assert "greeter 1.2" in done.output
    assert shoal("config").exit_code == 0
    assert re.search(r"^  greet +\(broken: `shoal plugins` says why\)$", shoal("--help").output, re.MULTILINE)


def test_a_package_cannot_take_a_verb_of_ours(shoal, fake_dist) -> None:
    fake_dist("greeter", "[shoal.commands]\nconfig = greeter:greet\n", "raise SystemExit\n")
    assert "num_cpus" in shoal("config").stdout


def test_two_packages_with_one_verb_are_refused(shoal, fake_dist) -> None:
    source = "import click\n@click.command()\ndef greet():\n    pass\n"
    for name in ("one_greeter", "two_greeter"):
        fake_dist(name, f"[shoal.commands]\ngreet = {name}:greet\n", source)
    done = shoal("greet")
    assert done.exit_code == 1
    assert "two plugins are registered as command 'greet'" in done.output
