"""How much room objects take, and what to say when there is none."""

from __future__ import annotations

import mmap

PAGE = mmap.PAGESIZE


def round_up(size: int, step: int) -> int:
    """Return the smallest multiple of `step` that is at least `size`."""
    return -(-size // step) * step


def size_class(size: int) -> int:
    """Return the size that a new segment gets, so that segments of like sizes can stand in for each other.

    At most a thirty-second is wasted, beyond a page.

    Example: `size_class(1)` is one page.
    """
    step = max(PAGE, 1 << max(0, size.bit_length() - 6))
    return max(PAGE, round_up(size, step))


def full_message(size: int, used: int, capacity: int, held: int = 0) -> str:
    """Say what was asked for, what there is and what would help."""
    if size > capacity:
        return (
            f"an object of {size:,} bytes can never fit: the object store holds {capacity:,}. Start with a larger "
            f"object_store_memory, or split the object"
        )
    views = f" ({held:,} of it are deleted objects that live views still hold)" if held else ""
    return (
        f"no room for an object of {size:,} bytes: {used:,} of {capacity:,} are in use{views}. Drop references that "
        f"are no longer needed, start with a larger object_store_memory, or use a store that spills to disk"
    )
