"""A compiled graph on an engine whose actors share no memory: the same interface, carried by ordinary calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import shoal
from shoal.dag.backend import Backend, Outcome
from shoal.dag.failures import ChannelClosed, ChannelTimeout
from shoal.dag.node import DAGNode
from shoal.dag.plan import Graph, needed_nodes, template_of
from shoal.dag.steps import fill
from shoal.errors import GetTimeout


def _call(instance: Any, name: str, args: Any, kwargs: Any, *values: Any) -> Any:
    """Call a method with the values of this execution in its arguments; an async actor awaits what it returns."""
    filled = {key: fill(item, values) for key, item in kwargs.items()}
    return getattr(instance, name)(*[fill(item, values) for item in args], **filled)


def _pick(instance: Any, index: int, values: Any) -> Any:
    return values[index]


class CalledGraph(Backend):
    """Executes by calls in the graph's order; what an actor returns goes to the next as a reference."""

    def __init__(self, graph: Graph, actors: Sequence[Any]) -> None:
        self._graph = graph
        self._actors = actors  # made for the graph, to be kept as long
        self._under_way: deque[list[Any]] = deque()
        self._closed = False

    def has_room(self) -> bool:
        return True

    def submit(self, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float) -> None:
        if self._closed:
            raise ChannelClosed("the compiled graph was torn down")
        refs: dict[DAGNode, Any] = {}
        given = shoal.put((args, kwargs))
        for node in self._graph.calls:
            call = node.class_method_call
            if call is not None:
                refs[node] = node.actor.__shoal_call__.remote(_pick, node.output_idx, refs[call])
                continue
            needed = needed_nodes(node)
            slots = {each: slot for slot, each in enumerate(needed)}
            values = [refs.get(each, given) for each in needed]
            refs[node] = node.actor.__shoal_call__.remote(
                _call,
                node.get_method_name(),
                template_of(node.get_args(), slots),
                template_of(node.get_kwargs(), slots),
                *values,
            )
        self._under_way.append([refs[node] for node in self._graph.outputs])

    def read(self, timeout: float | None) -> list[Outcome]:
        refs = self._under_way[0]
        if len(shoal.wait(list(dict.fromkeys(refs)), num_returns=len(set(refs)), timeout=timeout)[1]):
            raise ChannelTimeout(f"nothing came within {timeout:g} s")
        self._under_way.popleft()
        return [_outcome(ref) for ref in refs]

    def close(self, seconds: float, kill_actors: bool) -> None:
        self._closed = True
        if kill_actors and shoal.is_initialized():
            for actor in self._graph.actors:
                shoal.kill(actor)

    def abandon(self) -> None:
        self._closed = True


def _outcome(ref: Any) -> Outcome:
    try:
        return Outcome(shoal.get(ref))
    except GetTimeout:
        raise
    except Exception as error:  # what the method raised, or why there is no value
        return Outcome(error=error)
