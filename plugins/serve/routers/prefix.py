"""The router `prefix`: requests that begin alike go to the same replica, which has what they share in its cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.serve.routers.base import Asked, Candidate, Router
from shoal.serve.routers.power_of_two import PowerOfTwoRouter

_KEYS = ("prompt", "messages", "text", "input")


class PrefixRouter(Router):
    """For language models: the longest known beginning of the prompt says which replica.

    Prompts are cut into blocks of `block` characters; the `most_blocks` beginnings that were used last are
    remembered. A replica with `imbalance` more requests than the least loaded one is passed over: a popular
    prefix must not overload its replica. A prompt is the text in the first argument, or what it has under
    prompt, messages, text or input; a request without one, or with a beginning that nobody has seen, goes where
    `power_of_two` sends it. With a session (`options(session_id=…)`) the session stands before the prompt.
    """

    name: ClassVar[str] = "prefix"

    def __init__(self, block: int = 64, most_blocks: int = 100_000, imbalance: int = 8) -> None:
        for what, value in (("block", block), ("most_blocks", most_blocks), ("imbalance", imbalance)):
            if type(value) is not int or value < 1:
                raise ConfigError(
                    f"{what} of the router 'prefix' must be a whole number ≥ 1, not {describe(value)}"
                )
        self._block, self._most, self._imbalance = block, most_blocks, imbalance
        self._known: OrderedDict[int, str] = OrderedDict()  # hash of a beginning → replica
        self._otherwise = PowerOfTwoRouter()

    def choose(self, candidates: Sequence[Candidate], asked: Asked) -> Candidate | None:
        """Return the replica that has seen the longest beginning, if it is not far busier than others."""
        hashes = self._hashes(asked)
        by_id = {each.replica_id: each for each in candidates}
        least = min(each.load for each in candidates)
        chosen: Candidate | None = None
        for value in reversed(hashes):
            known = by_id.get(self._known.get(value, ""))
            if known is not None and known.has_room and known.load < least + self._imbalance:
                chosen = known
                break
        chosen = chosen or self._otherwise.choose(candidates, asked)
        if chosen is not None:
            for value in hashes:
                self._known[value] = chosen.replica_id
                self._known.move_to_end(value)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return chosen

    def update(self, candidates: Sequence[Candidate]) -> None:
        """Forget what replicas that are gone had seen."""
        there = {each.replica_id for each in candidates}
        for value in [value for value, replica in self._known.items() if replica not in there]:
            del self._known[value]

    def _hashes(self, asked: Asked) -> list[int]:
        text = asked.session_id + _prompt(asked)
        value, found = 0, []
        for start in range(0, min(len(text), 1 << 16), self._block):
            value = hash((value, text[start : start + self._block]))
            found.append(value)
        return found


def _prompt(asked: Asked) -> str:
    first: Any = asked.args[0] if asked.args else asked.kwargs
    if isinstance(first, str):
        return first
    if isinstance(first, (bytes, bytearray)):
        return bytes(first).decode("utf-8", "replace")
    if isinstance(first, Mapping):
        for key in _KEYS:
            if first.get(key):
                return str(first[key])
    return ""
