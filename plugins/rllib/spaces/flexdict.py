"""A dictionary of spaces that spaces may be added to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium


class FlexDict(gymnasium.spaces.Dict):
    """As gymnasium's Dict; more spaces may be put in later.

    Example: `space = FlexDict(); space["position"] = gymnasium.spaces.Discrete(3)`
    """

    def __init__(self, spaces: Mapping[str, Any] | None = None, **spaces_kwargs: Any) -> None:
        if spaces is not None and spaces_kwargs:
            raise ValueError("give spaces as a mapping or by name, not both")
        super().__init__(dict(spaces or spaces_kwargs))
        for space in self.spaces.values():
            self.assertSpace(space)

    def assertSpace(self, space: Any) -> None:  # noqa: N802  # the reference's name
        """Raise TypeError unless it is a space."""
        if not isinstance(space, gymnasium.Space):
            raise TypeError(f"values of a FlexDict must be spaces, not {space!r}")

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """Draw a dictionary with a sample of each space."""
        return {name: space.sample() for name, space in self.spaces.items()}

    def __getitem__(self, key: str) -> Any:
        return self.spaces[key]

    def __setitem__(self, key: str, space: Any) -> None:
        self.assertSpace(space)
        self.spaces[key] = space
