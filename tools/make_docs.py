"""Write the pages that the code already knows: settings from Config, hooks from Hooks, the command line from its verbs.

python tools/make_docs.py        # `make docs`; a test fails when a page is out of date
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from shoal.cli.main import OWN, build
from shoal.config import settings
from shoal.interfaces import hooks
from shoal.observe.metrics import METRICS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
with (ROOT / "pyproject.toml").open("rb") as file:
    OUR_PLUGINS = tomllib.load(file)["project"]["entry-points"]["shoal.commands"]

CONFIG = """\
# Settings

Made by `make docs` from `shoal.config.Config`. Give a setting to `shoal.init` by its name, set its variable, or write
it into `shoal.toml` or the table `[tool.shoal]` of `pyproject.toml`; the first of these wins. `shoal config` shows the
value of each here and where it came from. None means that the session decides at its start.

In a variable a list is written with commas, a table as JSON, and a number of bytes may have a unit (`512MB`, `2GiB`).
"""

HOOKS = """\
# Hooks

Made by `make docs` from `shoal.interfaces.hooks.Hooks`, whose module says how to write an observer and register it.
"""

METRICS_TEXT = """\
# Metrics

Made by `make docs` from `shoal.observe.metrics`, the table that dashboards are made of too.

Each node tells Prometheus its numbers over HTTP on loopback, with the library `prometheus_client` (the extra
`dashboard`). The port is any free one at nodes of a cluster; a program's own session opens none unless
[`metrics_port`](config.md#metrics_port) says so (0: any free one). The node's folder has it in
`prom_metrics_service_discovery.json`, in the form that Prometheus reads. Who asks needs the token in `metrics_token`,
which is made of the session's and opens nothing else.

```console
$ shoal metrics show                          # what a node of this machine tells now
$ shoal metrics prometheus > prometheus.yml   # have Prometheus ask the nodes of a cluster on this machine
$ shoal metrics dashboards --out dashboards   # a dashboard for Grafana: import dashboards/shoal.json
```

Nothing is counted for this in the way of a call: processes tell their daemon a few times a second how many calls they
have made, and a scrape is answered by a thread of the daemon, four at a time. A scraper that hangs is cut off after two
seconds.

Numbers of your own come along, told by the head for the whole cluster:

<!-- run -->
```python
import shoal
from shoal.util.metrics import Counter

shoal.init(num_cpus=1)
requests = Counter("requests", "Requests served.", tag_keys=("route",))
requests.inc(tags={"route": "/"})
shoal.shutdown()
```

A number of yours that has the name of one below is left out; a counter is told with `_total` behind its name.
Prometheus on another machine cannot reach a node's endpoint by itself: run it, or its agent, on each machine.

All have the labels `session` and `node`.

"""

CLI = """\
# The command line

Made by `make docs` from the verbs themselves. `shoal --help` lists them, `shoal VERB --help` tells about one, and
`shoal --version` prints the version.

- **`--json`**, which every verb has, prints JSON instead of what is for people.
- **Exit status:** 0 if it was done; 1 if it could not be done, with the reason on standard error; 2 if the words were
  wrong; 130 after Ctrl-C.
- **Completion:** `eval "$(shoal completion bash)"` in `~/.bashrc` completes verbs, options and the names of sessions;
  for other shells see [completion](#completion).
- **Sessions** of this machine are found through their folders below [`temp_dir`](config.md#temp_dir), without asking
  them: `sessions`, `stack` and `logs` work on one that hangs. Only your own sessions are seen.
"""

CLI_END = '''\
## Verbs of your own

A package adds a verb by an entry point whose target is a `click.Command` and whose name is the verb's:

<!-- file: greeter.py -->
```python
import click

from shoal.observe.commands import json_option, say


@click.command()
@click.argument("name")
@json_option()
def greet(name: str, json_: bool) -> None:
    """Say hello."""
    say({"hello": name}, f"Hello, {name}!", json_)
```

```toml
[project.entry-points."shoal.commands"]
greet = "greeter:greet"
```

<!-- run -->
```console
$ shoal greet you
```

```output
Hello, you!
```

It is imported when it is run, and for `shoal --help`: import what is heavy inside the function. A verb that Shoal has
itself cannot be replaced. An [observer](plugins/hooks.md) may add verbs by the hook `shoal_cli_commands` as well.
'''


def cli_page() -> str:
    """Return the page of the command line: our own verbs and those of our plugins, sorted."""
    group = build()
    context = click.Context(group, info_name="shoal")
    parts = [CLI]
    for name in sorted({*OWN, *OUR_PLUGINS}):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            for inner in sorted(command.commands):
                whole = f"{name} {inner}"
                parts.append(f"## {whole}\n\n{_verb(command.commands[inner], whole)}\n")
            continue
        parts.append(f"## {name}\n\n{_verb(command, name)}\n")
    return "\n".join([*parts, CLI_END])


def _verb(command: click.Command, name: str) -> str:
    words = [
        f"[{parameter.name.upper()}]..." if parameter.nargs == -1 else parameter.name.upper()
        for parameter in command.params
        if isinstance(parameter, click.Argument) and parameter.name
    ]
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    # click keeps the lines of a paragraph that begins with a backspace.
    texts = [
        f"```text\n{text[2:]}\n```" if text.startswith("\b\n") else " ".join(text.split("\n"))
        for text in paragraphs
    ]
    options = [one for one in command.params if isinstance(one, click.Option)]
    rows = [f"| {_option(one)} | {one.help}{_default(one)} |" for one in options]
    usage = " ".join(["shoal", name, "[OPTIONS]", *words])
    return "\n".join([f"`{usage}`\n", "\n\n".join(texts), "\n| option | |\n| --- | --- |", *rows])


def _option(option: click.Option) -> str:
    value = ""
    if not option.is_flag:
        value = f" {option.metavar or option.type.name.upper().replace(' RANGE', '')}"
    return f"`{', '.join(option.opts)}{value}`"


def _default(option: click.Option) -> str:
    return f" Default: {option.default}." if option.show_default else ""


def config_page() -> str:
    """Return the page of settings."""
    parts = [CONFIG]
    for setting in settings():
        parts.append(
            f"## {setting.name}\n\n{setting.doc}\n\n"
            f"- variable: `{setting.environment}`\n- default: `{setting.default!r}`\n- allowed: {setting.allowed}\n"
        )
    return "\n".join(parts)


def hooks_page() -> str:
    """Return the page of hooks, in the order in which they are declared."""
    parts = [HOOKS]
    for name, function in vars(hooks.Hooks).items():
        if name in hooks.hook_names():
            event = list(inspect.signature(function).parameters.values())[1]
            parts.append(f"## {name}({event.name}: {event.annotation})\n\n{inspect.getdoc(function)}\n")
    return "\n".join(parts)


def metrics_page() -> str:
    """Return the page of metrics: the table of all that a node tells, below what to do with it."""
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | "
        f"{one.text}{' Told by the head.' if one.of_head else ''} |"
        for one in METRICS
    ]
    return METRICS_TEXT + "\n".join(["| metric | kind | labels | |", "| --- | --- | --- | --- |", *rows, ""])


PAGES = {"cli.md": cli_page, "config.md": config_page, "hooks.md": hooks_page, "metrics.md": metrics_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page())
