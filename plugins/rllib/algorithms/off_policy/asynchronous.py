"""Many runners, replay in shards, and a learner that waits for neither (Horgan et al., 2018)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import attrs

import shoal
from shoal.errors import ActorDied, ConfigError, GetTimeout
from shoal.rllib.algorithms.off_policy.off_policy import OffPolicy, as_arrays, as_tensors
from shoal.rllib.replay.shards import ReplayShards

APEX: dict[str, Any] = {
    "n_step": 3,
    "broadcast_interval": 16,
    "max_requests_in_flight_per_replay_shard": 2,
}


def apex_families(
    families: Mapping[str, Mapping[str, Any]], **defaults: Any
) -> Mapping[str, Mapping[str, Any]]:
    """Return families of settings with those of asynchronous algorithms added.

    Example: `families = apex_families(DQNConfig.families)`
    """
    training = {**families["training"], **APEX, **defaults}
    training["replay_buffer_config"] = {**training["replay_buffer_config"], "type": "PrioritizedReplayBuffer"}
    return {
        **families,
        "training": training,
        "env_runners": {**families["env_runners"], "num_env_runners": 2},
    }


def check_apex(config: Any) -> None:
    """Raise ConfigError for settings with which an algorithm cannot be asynchronous.

    Example: `check_apex(config)`
    """
    if not config.num_env_runners:
        raise ConfigError("num_env_runners=0: this algorithm needs runners that are actors")
    for name in ("broadcast_interval", "max_requests_in_flight_per_replay_shard"):
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} must be a whole number ≥ 1, not {value!r}")


@attrs.define
class _Asked:
    """One request to a runner."""

    place: int
    rows: Any
    since: float
    updates: int  # how many batches the policy had learned from


class Apex(OffPolicy):
    """Runners play on, each exploring as much as is its own; what they see goes to shards without passing here.

    A runner that dies or gives no answer is replaced, and a shard that dies by an empty one.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._asked: dict[Any, _Asked] = {}
        self._batches: dict[Any, int] = {}
        self._adds: dict[Any, int] = {}
        self._sizes: dict[int, int] = {}
        self._policy: tuple[int, bool, Any] | None = None
        self._lags: list[int] = []
        self._idle: list[int] = []  # runners that wait until enough was learned
        self._start = 0  # steps played when learning began
        self._starved = False  # whether a shard had too few rows for a batch

    def make_buffer(self) -> Any:
        """Return the shards."""
        given = self.config.replay_buffer_config
        settings = (
            {name: given[name] for name in ("alpha", "beta", "eps")} if self.config.prioritised() else None
        )
        return ReplayShards(given["capacity"], given["num_shards"], settings, self.config.seed)

    def amount(self, place: int) -> float:
        """Return how much a runner explores: from the first, which does most, to the last, which hardly does."""
        count = max(1, self.config.num_env_runners - 1)
        return float(0.4 ** (1 + 7 * place / count))

    def training_step(self) -> dict[str, Any]:
        """Hand requests out and take answers in, learning from batches as they come, until enough was played."""
        config = self.config
        until = self._steps + config.min_sample_timesteps_per_iteration
        told: dict[str, Any] = {}
        self._lags = []
        if not self._asked and not self._idle:
            self._idle = list(range(len(self._runners.actors)))
        while self._steps < until:
            self._ask_shards()
            self._wake()
            waited = [*self._asked, *self._batches, *self._adds]
            ready, _ = shoal.wait(waited, num_returns=1, timeout=1.0)
            more, _ = shoal.wait(waited, num_returns=len(waited), timeout=0)
            for ref in {*ready, *more}:
                if ref in self._asked:
                    self._take_steps(ref)
                elif ref in self._adds:
                    self._take_size(ref)
                elif ref in self._batches:  # not, if its shard was replaced meanwhile
                    told = self._learn_from(ref) or told
            self._replace_silent()
        lag = sum(self._lags) / len(self._lags) if self._lags else 0.0
        return {**self.numbers(told), "policy_lag_mean": lag}

    def stop(self) -> None:
        """End the runners and the shards. Again does nothing."""
        self._asked, self._batches, self._adds, self._idle = {}, {}, {}, []
        self.buffer.stop()
        super().stop()

    def buffer_state(self) -> Any:
        """Return the shards' states."""
        return [as_tensors(state) for state in shoal.get(self.buffer.states(), timeout=300)]

    def set_buffer_state(self, state: Any) -> None:
        """Let the shards go on from there. Raises ConfigError for another number of shards."""
        if len(state) != len(self.buffer):
            raise ConfigError(f"the checkpoint has {len(state)} replay shards, num_shards={len(self.buffer)}")
        self.buffer.set_states([as_arrays(each) for each in state])

    def _ask(self, place: int) -> None:
        stale = self._policy is None or self.updates - self._policy[0] >= self.config.broadcast_interval
        if stale or (self._policy is not None and self._policy[1] != self.warm):
            # One copy a node, whichever runners read it.
            self._policy = self.updates, self.warm, shoal.put(self.policy(self.warm))
        assert self._policy is not None
        updates, warm, policy = self._policy
        amount = self.amount(place) if warm else 1.0
        steps = self.config.steps_of_a_request()
        actor = self._runners.actors[place]
        rows, told = actor.sample_apart.options(num_returns=2).remote(policy, amount, steps)
        self._asked[told] = _Asked(place, rows, time.monotonic(), updates)

    def _take_steps(self, ref: Any) -> None:
        asked = self._asked.pop(ref)
        try:
            told = shoal.get(ref, timeout=self.config.sample_timeout_s)
        except ActorDied as error:
            self._runners.replace(asked.place, error)
            self._ask(asked.place)
            return
        self._episodes.extend(told["episodes"])
        self._steps += told["steps"]
        self._lags.append(self.updates - asked.updates)
        place, size = self.buffer.add(asked.rows)
        self._adds[size] = place
        self._idle.append(asked.place)

    def _wake(self) -> None:
        """Ask runners for more, unless `training_intensity` wants more to be learned of what there is first."""
        intensity = self.config.training_intensity
        if self._idle and self.warm and intensity is not None and not self._starved:
            slack = len(self._runners.actors) * self.config.steps_of_a_request()
            if self.updates * self.config.train_batch_size < intensity * (self._steps - self._start - slack):
                return
        for place in self._idle:
            self._ask(place)
        self._idle = []

    def _take_size(self, ref: Any) -> None:
        place = self._adds.pop(ref)
        try:
            self._sizes[place] = shoal.get(ref, timeout=60)
        except ActorDied as error:
            self._renew(place, error)

    def _ask_shards(self) -> None:
        if not self.warm:
            self._start = self._steps
            return
        most = self.config.max_requests_in_flight_per_replay_shard * len(self.buffer)
        intensity = self.config.training_intensity
        size = self.config.train_batch_size
        while len(self._batches) < most:
            learned = (self.updates + len(self._batches)) * size
            if intensity is not None and learned >= intensity * (self._steps - self._start):
                return
            place, ref = self.buffer.sample(size)
            self._batches[ref] = place

    def _learn_from(self, ref: Any) -> dict[str, Any] | None:
        place = self._batches.pop(ref)
        try:
            batch = shoal.get(ref, timeout=60)
        except ActorDied as error:
            self._renew(place, error)
            return None
        self._starved = batch is None
        if batch is None:
            return None
        told, errors = self.learn(self.tensors(batch))
        if self.config.prioritised():
            self.buffer.update(place, batch["indices"], errors.abs().cpu().numpy())
        self.after_learning()
        return told

    def _renew(self, place: int, why: ActorDied) -> None:
        # Several requests of one dead shard fail: the first of them replaces it.
        for waiting in (self._batches, self._adds):
            for ref in [ref for ref, at in waiting.items() if at == place]:
                del waiting[ref]
        self.buffer.replace(place, why)

    def _replace_silent(self) -> None:
        limit = self.config.sample_timeout_s
        for ref, asked in list(self._asked.items()):
            if time.monotonic() - asked.since > limit:
                del self._asked[ref]
                why = GetTimeout(f"no answer within sample_timeout_s={limit:g} s")
                self._runners.replace(asked.place, why)
                self._ask(asked.place)


__all__ = ["APEX", "Apex", "apex_families", "check_apex"]
