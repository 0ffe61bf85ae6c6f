"""What `shoal doctor` is told: a plugin's own check of the machine it is to run on.

A check is a function that takes the settings and yields findings, registered as an entry point of the group
`shoal.checks`. It starts nothing, changes nothing, and waits a few seconds at most.

    def check(config):
        if not os.path.exists("/dev/kvm"):
            yield Finding(WARNING, "no /dev/kvm", "install qemu-kvm")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from shoal.config import Config

GOOD = "good"
WARNING = "warning"  # it works, but worse than it could
BAD = "bad"  # something will fail
STATES: tuple[str, ...] = (GOOD, WARNING, BAD)


@attrs.frozen
class Finding:
    """One thing that a check has looked at. `cure` says what to do, unless the state is GOOD."""

    state: str = attrs.field(validator=attrs.validators.in_(STATES))
    text: str
    cure: str = ""


Check = Callable[["Config"], Iterable[Finding]]
