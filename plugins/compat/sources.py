"""Where names of the reference come from."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Source:
    """A module of ours, and the names that come from it: theirs to ours; None for all of its public names."""

    module: str
    names: Mapping[str, str] | None


def of(module: str, *names: str) -> Source:
    """`of("shoal", "get", "ObjectID=ObjectRef")`; no names: all."""
    if not names:
        return Source(module, None)
    pairs = (text.partition("=") for line in names for text in line.split())
    return Source(module, {theirs: ours or theirs for theirs, _, ours in pairs})
