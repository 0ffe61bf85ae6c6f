"""Searchers around another one: what of them is stored."""

from __future__ import annotations

from typing import Any

from shoal.tune.search.searcher import Searcher

__all__ = ["WrappingSearcher"]


class WrappingSearcher(Searcher):
    """A searcher that passes on what another one suggests, which it has as `searcher`."""

    searcher: Searcher

    def get_state(self) -> dict[str, Any]:
        """Return what it knows itself, without the searcher's own state."""
        return {name: value for name, value in self.__dict__.items() if name != "searcher"}

    def save(self, checkpoint_path: str) -> None:
        """Store both states in one file."""
        import cloudpickle

        self.searcher.save(checkpoint_path)
        with open(checkpoint_path, "rb") as file:
            inner = file.read()
        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump((self.get_state(), inner), file)

    def restore(self, checkpoint_path: str) -> None:
        """Go on from a file that `save` wrote. It is unpickled: use your own only."""
        import cloudpickle

        with open(checkpoint_path, "rb") as file:
            state, inner = cloudpickle.load(file)
        self.set_state(state)
        with open(f"{checkpoint_path}.inner", "wb") as file:
            file.write(inner)
        self.searcher.restore(f"{checkpoint_path}.inner")
