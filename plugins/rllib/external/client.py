"""What a program has that plays an environment, and asks for actions. It needs nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any


class PolicyClient:
    """Asks an algorithm for actions over HTTP, and tells it what came of them. Not for several threads at once.

    Parameters: `address` ("http://127.0.0.1:9900") and `token` are those of `algorithm.env_runner`; an answer is waited
    for `timeout_s` seconds.

    Methods raise ConnectionError if nobody answers, and RuntimeError with what the server says is wrong.

    Example:
        client = PolicyClient(address, token)
        episode = client.start_episode()
        action = client.get_action(episode, observation)
        client.log_returns(episode, reward)
        client.end_episode(episode, last_observation)
    """

    def __init__(self, address: str, token: str, timeout_s: float = 60.0) -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"the address must be http://HOST:PORT, not {address!r}")
        self._where = (parts.hostname, parts.port or 80)
        self._token, self._timeout = token, timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def start_episode(self, episode_id: str | None = None, training_enabled: bool = True) -> str:
        """Begin an episode; return its identifier. One without training is played and not learned from."""
        told = self._ask("start", {"episode_id": episode_id, "training_enabled": training_enabled})
        return str(told["episode_id"])

    def get_action(self, episode_id: str, observation: Any) -> Any:
        """Return what to do for what is seen."""
        return self._ask("action", {"episode_id": episode_id, "observation": observation})["action"]

    def log_action(self, episode_id: str, observation: Any, action: Any) -> None:
        """Tell what was seen and done without asking."""
        self._ask("log_action", {"episode_id": episode_id, "observation": observation, "action": action})

    def log_returns(self, episode_id: str, reward: float, info: dict[str, Any] | None = None) -> None:
        """Tell a reward for what was done last; several add up."""
        self._ask("returns", {"episode_id": episode_id, "reward": float(reward), "info": info})

    def end_episode(self, episode_id: str, observation: Any, truncated: bool = False) -> None:
        """End an episode with what is seen last: it is over, or was `truncated` by a limit of time."""
        self._ask("end", {"episode_id": episode_id, "observation": observation, "truncated": truncated})

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, what: str, told: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(told, default=_plain)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(*self._where, timeout=self._timeout)
            self._connection.request("POST", f"/{what}", body, headers)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ConnectionError(
                f"no answer from {self._where[0]}:{self._where[1]}: {type(error).__name__}: {error}"
            ) from error
        found: dict[str, Any] = json.loads(content or b"{}")
        if answer.status != 200:
            raise RuntimeError(str(found.get("error", answer.reason)))
        return found


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy's, which this module does not import."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be told as JSON")
