"""The shell of the autoscaler: asks the cluster and the provider, lets the machine decide, carries it out."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from shoal.autoscaler.calls import ProviderCalls
from shoal.autoscaler.machine import Autoscaler, Drain, Effect, Launch, Terminate
from shoal.autoscaler.spec import ClusterSpec, read_cluster
from shoal.errors import ConfigError, NodeProviderError, ShoalError
from shoal.interfaces.nodes import Machine, NodeProvider, NodeStart
from shoal.interfaces.scaling import ScalingLink, ScalingPolicy
from shoal.scaling import load_nodes, load_policy

_log = logging.getLogger("shoal.autoscaler")

_LEAST_LEASE = 10.0  # seconds that an autoscaler leads without saying so again
_LONGEST_WAIT = 5.0  # between two tries to reach the cluster
_CLOSE_SECONDS = 5.0


class Loop:
    """One autoscaler of one cluster. `run` is its life, in one thread; `stop` may be called from any."""

    def __init__(
        self, path: str, connect: Callable[[], ScalingLink], start: Callable[[ClusterSpec], NodeStart]
    ) -> None:
        """`path` is the cluster's file, read again when it changes. `connect` reaches the cluster, as often as need be.

        Raises ConfigError for a file that cannot be used, PluginError for a provider or policy that cannot.
        """
        self._path = path
        self._connect = connect
        self._start = start
        self._owner = secrets.token_bytes(8)
        self._stopped = threading.Event()
        self._tells_end = True
        self._link: ScalingLink | None = None
        self._leads_until = 0.0
        self._listing = False
        self._machines: list[Machine] | None = None  # the last list, until it has been looked at
        self._problem = ""  # with the file as it is now
        self._stamp = _stamp_of(path)
        self._wait = 0.2
        self.spec, policy = self._read()
        self.scaler = Autoscaler(self.spec, policy, secrets.token_hex(2) + "-")
        self._calls = ProviderCalls(self._make_provider, self.spec.provider_seconds)

    def _read(self) -> tuple[ClusterSpec, ScalingPolicy]:
        return check_cluster(self._path, self._start)

    def _make_provider(self) -> NodeProvider:
        spec = self.spec
        return load_nodes(spec.provider, spec.name, self._start(spec), spec.provider_options)

    def stop(self, tell: bool = True) -> None:
        """Let `run` return soon. Machines go on. Without `tell` the cluster is not told, since it ends as well."""
        self._tells_end = tell
        self._stopped.set()

    def run(self) -> None:
        """Work until `stop`. Never raises for what the cluster, the provider or the file do."""
        try:
            while not self._stopped.is_set():
                try:
                    self._once()
                    self._wait = 0.2
                except (ShoalError, OSError) as error:
                    # The head is away, or is another one by now.
                    _log.warning("the cluster cannot be reached: %s", error)
                    self._drop_link()
                    self._stopped.wait(self._wait)
                    self._wait = min(2 * self._wait, _LONGEST_WAIT)
        finally:
            self._step_down()
            self._calls.close(_CLOSE_SECONDS)

    def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _step_down(self) -> None:
        try:
            if self._link is not None and self._tells_end:
                self._link.step_down(self._owner)
        except (ShoalError, OSError) as error:
            _log.info("the cluster is gone already: %s", error)
        self._drop_link()

    def _once(self) -> None:
        """Look at everything once, and do what is to be done."""
        self._read_again()
        if self._link is None:
            self._link = self._connect()
        link, spec = self._link, self.spec
        seconds = max(_LEAST_LEASE, 5 * spec.interval_seconds)
        now = time.monotonic()
        if not link.lead(self._owner, seconds, list(spec.types.values())):
            self._leads_until = 0.0
            self._stopped.wait(spec.interval_seconds)  # another one leads: stand by
            return
        self._leads_until = now + seconds
        if not self._listing:
            self._listing = True
            self._calls.ask("list machines", lambda provider: provider.machines(), self._listed)
        deadline = time.monotonic() + spec.interval_seconds
        while self._calls.busy and not self._stopped.is_set():
            self._calls.collect(max(0.0, min(0.2, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                break
        machines, self._machines = self._machines, None
        for effect in self.scaler.step(link.view(), machines, time.monotonic()):
            self._carry_out(effect, link)
        link.tell(self._owner, {**self.scaler.report(time.monotonic()), "problem": self._problem})
        self._stopped.wait(max(0.0, deadline - time.monotonic()))

    def _listed(self, machines: Any, error: Exception | None) -> None:
        self._listing = False
        if error is not None:
            self.scaler.provider_silent(_why(error), time.monotonic())
            return
        self._machines = machines

    def _carry_out(self, effect: Effect, link: ScalingLink) -> None:
        if isinstance(effect, Drain):
            _log.info("draining %s", effect.machine_id)
            link.drain(effect.node_id)
        elif isinstance(effect, Launch):
            self._launch(effect)
        elif isinstance(effect, Terminate):
            self._terminate(effect.machine_ids)

    def _launch(self, effect: Launch) -> None:
        node_type = self.spec.types[effect.node_type]

        def answer(machines: Any, error: Exception | None) -> None:
            now = time.monotonic()
            if error is None:
                self.scaler.launched(effect.key, machines, now)
                return
            _log.warning("%d of %s were not launched: %s", effect.count, effect.node_type, _why(error))
            permanent = isinstance(error, ConfigError) or (
                isinstance(error, NodeProviderError) and error.permanent
            )
            self.scaler.launch_failed(effect.key, _why(error), permanent, now)

        def work(provider: NodeProvider) -> Any:
            self._must_lead()
            return provider.launch(node_type, effect.count, effect.key)

        _log.info("launching %d of %s", effect.count, effect.node_type)
        self._calls.ask(f"launch {effect.count} of {effect.node_type}", work, answer)

    def _terminate(self, machine_ids: Sequence[str]) -> None:
        def answer(value: Any, error: Exception | None) -> None:
            if error is not None:
                _log.warning("%s were not ended: %s", machine_ids, _why(error))
                self.scaler.terminate_failed(machine_ids, _why(error), time.monotonic())

        def work(provider: NodeProvider) -> None:
            self._must_lead()
            provider.terminate(machine_ids)

        _log.info("ending or forgetting %s", ", ".join(machine_ids))
        self._calls.ask(f"end {', '.join(machine_ids)}", work, answer)

    def _must_lead(self) -> None:
        """Raise NodeProviderError if another autoscaler may lead by now: what this one has decided counts no more."""
        if time.monotonic() >= self._leads_until:
            raise NodeProviderError(
                self.spec.provider, "do what was decided", "another autoscaler may lead by now"
            )

    def _read_again(self) -> None:
        """Take over the cluster's file if it has changed and can be used."""
        stamp = _stamp_of(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            spec, policy = self._read()
        except ShoalError as error:
            self._problem = str(error)
            _log.error("the cluster's file cannot be used, the last one goes on: %s", error)
            return
        self._problem = ""
        if (spec.name, spec.provider) != (self.spec.name, self.spec.provider):
            self._problem = "name and provider of a cluster cannot change while it runs"
            return
        if spec == self.spec:
            return
        _log.info("the cluster's file has changed")
        self.spec = spec
        self._calls.renew(spec.provider_seconds)
        self.scaler.change(spec, policy)


def check_cluster(path: str, start: Callable[[ClusterSpec], NodeStart]) -> tuple[ClusterSpec, ScalingPolicy]:
    """Return the cluster that a file describes, and its policy, once provider and types have accepted their options.

    Raises ConfigError, PluginError.
    """
    spec = read_cluster(path)
    policy = load_policy(spec.policy, spec.policy_options)
    provider = load_nodes(spec.provider, spec.name, start(spec), spec.provider_options)
    try:
        for node_type in spec.types.values():
            provider.check_type(node_type)
    finally:
        provider.close()
    return spec, policy


def _why(error: Exception) -> str:
    if isinstance(error, NodeProviderError):
        return error.why
    return str(error) if isinstance(error, ShoalError) else f"{type(error).__name__}: {error}"


def _stamp_of(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
