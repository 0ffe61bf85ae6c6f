"""What can go wrong with a compiled graph itself; what a method raises arrives as it does from ordinary calls."""

from __future__ import annotations

from shoal.errors import GetTimeout, ShoalError


class GraphError(ShoalError):
    """A compiled graph cannot be used as it was: it was torn down, or its shape does not fit."""


class ChannelError(GraphError):
    """A channel of a compiled graph cannot be used now."""


class ChannelClosed(ChannelError):
    """The graph was torn down while something waited for it, or before it was used."""


class ChannelTimeout(ChannelError, GetTimeout):
    """Nothing came, or no room became free, within the time given. The graph goes on: try again."""


class CapacityExceeded(GraphError):
    """More executions are under way, or more results wait, than the graph was compiled for: get results first."""


class ValueTooLarge(GraphError, ValueError):
    """A value does not fit into a channel's buffer: compile with a larger `_buffer_size_bytes`."""
