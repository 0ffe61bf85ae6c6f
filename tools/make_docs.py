"""Write the pages that the code already knows: docs/config.md from Config, docs/hooks.md from Hooks.

python tools/make_docs.py        # `make docs`; a test fails when a page is out of date
"""

from __future__ import annotations

import inspect
from pathlib import Path

from shoal.config import settings
from shoal.interfaces import hooks

ROOT = Path(__file__).resolve().parent.parent

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


PAGES = {"config.md": config_page, "hooks.md": hooks_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page())
