"""What hashing and tokenizing preprocessors do unless they are given something else."""

from __future__ import annotations

import hashlib


def simple_split_tokenizer(value: str) -> list[str]:
    """Return the words between single spaces.

    Example: `simple_split_tokenizer("a b")  # ["a", "b"]`
    """
    return value.split(" ")


def simple_hash(value: object, num_features: int) -> int:
    """Return a number from 0 to below `num_features` that is the same for this text in each process and release.

    Example: `simple_hash("word", 16)`
    """
    digest = hashlib.sha1(str(value).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest, "big") % num_features
