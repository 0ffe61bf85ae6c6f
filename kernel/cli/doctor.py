"""`shoal doctor`: every plugin's own check of this machine, and what to mend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from shoal.config import load_config
from shoal.errors import PluginError, describe
from shoal.interfaces.checks import BAD, GOOD, WARNING, Finding
from shoal.observe.commands import json_option, say

_SIGNS = {GOOD: "ok", WARNING: "warning", BAD: "BAD"}


@click.command()
@json_option()
def doctor(json_: bool) -> None:
    """Look for what is wrong on this machine, and say what to mend.

    Each plugin has its own check; nothing is started and nothing is changed. Exit status 1 if something will fail.
    """
    found = list(_findings())
    plain = [{"check": name, "state": one.state, "text": one.text, "cure": one.cure} for name, one in found]
    say(plain, lambda: "\n".join(_lines(found)), json_)
    if any(one.state == BAD for _, one in found):
        raise click.exceptions.Exit(1)


def _lines(found: list[tuple[str, Finding]]) -> Iterator[str]:
    for name, one in found:
        yield f"{_SIGNS[one.state]:8} {name}: {one.text}"
        if one.cure and one.state != GOOD:
            yield f"{'':8}   mend: {one.cure}"
    worst = sum(one.state == BAD for _, one in found)
    warnings = sum(one.state == WARNING for _, one in found)
    yield f"\n{len(found)} things were looked at: {worst} will fail, {warnings} could be better."


def _findings() -> Iterator[tuple[str, Finding]]:
    from shoal.registry.discover import find, load
    from shoal.registry.groups import CHECKS
    from shoal.registry.report import report

    config = load_config()
    broken = [row for row in report(config) if row.state == "broken"]
    for row in broken:
        state = BAD if row.chosen else WARNING
        yield (
            "plugins",
            Finding(state, f"{row.group} {row.name}: {row.error}", f"reinstall {row.distribution}"),
        )
    if not broken:
        yield "plugins", Finding(GOOD, "every installed plugin can be loaded")
    for one in sorted(find(CHECKS), key=lambda found: found.name):
        try:
            check: Any = load(one)
            for finding in check(config):
                if not isinstance(finding, Finding):
                    raise TypeError(f"a check yields Finding, not {describe(finding)}")
                yield one.name, finding
        except (Exception, PluginError) as error:  # a stranger's function may raise anything
            yield one.name, Finding(WARNING, f"its check failed: {error!r}", f"tell who made {one}")
