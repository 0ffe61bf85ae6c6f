"""Graphs of calls: what `.bind()` makes, and who makes it. The kernel knows nodes only by this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar


class DeferredValue(ABC):
    """A value that `get` can be asked for although no engine knows it: a library brings it.

    Methods may be called from any thread.
    """

    @abstractmethod
    def get(self, timeout: float | None = None) -> Any:
        """Return the value, waiting at most `timeout` seconds (None: as long as the library's own bound).

        Raises GetTimeout (or a subclass of TimeoutError of the library's) and what the work raised.
        """


class GraphNode(ABC):
    """One step of a graph of calls. Nothing runs until `execute`."""

    @abstractmethod
    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph that ends here once, with this input, as ordinary calls; return its references."""

    @abstractmethod
    def experimental_compile(self, **options: Any) -> Any:
        """Prepare the graph so that a step needs no scheduling, and return what executes it."""


class GraphLibrary(ABC):
    """Makes nodes. Constructed once for each process, without arguments; any thread may call it."""

    name: ClassVar[str]

    @abstractmethod
    def function_node(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]
    ) -> Any:
        """Return the node of a remote function's call; `function` has `.remote(...)`."""

    @abstractmethod
    def class_node(
        self, actor_class: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]
    ) -> Any:
        """Return the node of an actor that is made when the graph runs; its methods have `.bind(...)`."""

    @abstractmethod
    def method_node(
        self,
        handle: Any,
        method: Any,
        name: str,
        num_returns: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Return the node of a living actor's method, or a tuple of nodes if the method returns several values."""
