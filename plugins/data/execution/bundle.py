"""A block's reference and what is known of the block without fetching it."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen(eq=False)
class Bundle:
    """One block, or the piece of a source that is yet to be read.

    Parameters: `ref` is a reference to the block (or the piece itself), `rows` and `size` (bytes) are what the block
    has, `schema` its Arrow schema, `node` the identifier of the node that made it ("" if that is not known).
    """

    ref: Any
    rows: int
    size: int
    schema: Any = None
    node: str = ""


@attrs.frozen
class BlockFacts:
    """What a task says of each block that it made."""

    rows: int
    size: int
    schema: Any
    seconds: float  # that making it took
    node: str = ""  # that made it
