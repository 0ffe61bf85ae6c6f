"""Autoscaling in the controller: asks replicas what they have to do, and has the machine scale."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from shoal.errors import ShoalError
from shoal.serve.autoscaling_policy import replica_queue_length_autoscaling_policy
from shoal.serve.config import AutoscalingConfig, AutoscalingContext
from shoal.serve.context import DeploymentID
from shoal.serve.control.autoscaling import Autoscaler
from shoal.serve.control.events import Action, Scale
from shoal.serve.control.machine import DeploymentState, Machine
from shoal.serve.control.replicas import Replicas, answer_of
from shoal.serve.messages import key_of
from shoal.serve.policies import AutoscalingPolicy

_log = logging.getLogger("shoal.serve")
_QUEUED_SECONDS = 1.5  # callers tell twice a second while something waits
_ASK_SECONDS = 5.0


class Scaler:
    """The autoscalers of all deployments that have one."""

    def __init__(self, machine: Machine, replicas: Replicas) -> None:
        self._machine = machine
        self._replicas = replicas
        self._queued: dict[str, dict[str, tuple[float, int]]] = {}  # by deployment and caller
        self._autoscalers: dict[str, Autoscaler] = {}
        self._looked: dict[str, float] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._errors: dict[str, str] = {}

    def queued(self, listener: str, waiting: Mapping[str, int], now: float) -> None:
        """Take note of how many requests wait in a caller; a deployment without replicas is looked at at once."""
        for key, count in waiting.items():
            self._queued.setdefault(key, {})[listener] = (now, count)
            app, _, name = key.partition("#")
            found = self._machine.apps.get(app)
            deployment = found.deployments.get(name) if found is not None else None
            if deployment is not None and deployment.wanted == 0:
                self._looked.pop(key, None)

    def waiting(self, key: str, now: float) -> int:
        """Return how many requests wait for a deployment in all callers."""
        told = self._queued.get(key, {})
        for listener in [each for each, (at, _) in told.items() if now - at > _QUEUED_SECONDS]:
            del told[listener]
        return sum(count for _, count in told.values())

    def look(self, now: float) -> list[Action]:
        """Return what is to be done for deployments whose time has come."""
        actions: list[Action] = []
        for app in list(self._machine.apps.values()):
            due: list[tuple[DeploymentState, str, AutoscalingConfig]] = []
            for deployment in list(app.deployments.values()):
                config = deployment.target.options.autoscaling_config
                key = key_of(deployment.app, deployment.name)
                if config is None or deployment.deleted:
                    self._autoscalers.pop(key, None)
                    continue
                if now - self._looked.get(key, float("-inf")) >= config.metrics_interval_s:
                    self._looked[key] = now
                    due.append((deployment, key, config))
            if due and app.spec.policy is not None:
                actions += self._look_together(app.spec.policy, due, now)
            for deployment, key, config in due:
                if app.spec.policy is None:
                    actions += self._look_at(deployment, key, config, now)
                self._ask(key)
        return actions

    def _observe(
        self, deployment: DeploymentState, key: str, config: AutoscalingConfig, now: float
    ) -> tuple[Autoscaler, AutoscalingContext]:
        scaler = self._autoscalers.setdefault(key, Autoscaler(deployment.app, deployment.name))
        held = self._replicas.of(key)
        running = [each.replica_id for each in deployment.of("RUNNING") if each.replica_id in held]
        told = {name: held[name].told for name in running}
        ongoing = {name: each.get("ongoing", 0) for name, each in told.items()}
        recorded = {name: each["recorded"] for name, each in told.items() if "recorded" in each}
        context = scaler.observe(
            config,
            now,
            target=deployment.wanted,
            running=len(deployment.of("RUNNING")),
            ongoing=sum(ongoing.values()),
            queued=self.waiting(key, now),
            raw={"ongoing": ongoing, "recorded": recorded},
        )
        return scaler, context

    def _look_at(
        self, deployment: DeploymentState, key: str, config: AutoscalingConfig, now: float
    ) -> list[Action]:
        scaler, context = self._observe(deployment, key, config, now)
        try:
            policy = config.get_policy() or replica_queue_length_autoscaling_policy
            wanted = scaler.settle(context, policy(context))
        except Exception as error:  # a policy of a user
            self._failed(key, deployment, error)
            return []
        return self._scale(key, deployment, wanted, now)

    def _look_together(
        self, policy: AutoscalingPolicy, due: list[tuple[DeploymentState, str, AutoscalingConfig]], now: float
    ) -> list[Action]:
        """Ask an application's policy, which gets the contexts of all its deployments by DeploymentID."""
        seen = {each[0].name: (each, *self._observe(each[0], each[1], each[2], now)) for each in due}
        ids = {name: DeploymentID(name, one[0][0].app) for name, one in seen.items()}
        actions: list[Action] = []
        try:
            said: Any = policy.get_policy()({ids[name]: one[2] for name, one in seen.items()})
            decisions, states = said if isinstance(said, tuple) else (said, {})
            for name, (each, scaler, context) in seen.items():
                if ids[name] in decisions:
                    state = dict(states or {}).get(ids[name], {})
                    wanted = scaler.settle(context, (decisions[ids[name]], state))
                    actions += self._scale(each[1], each[0], wanted, now)
        except Exception as error:  # a policy of a user
            for each in due:
                self._failed(each[1], each[0], error)
        return actions

    def _failed(self, key: str, deployment: DeploymentState, error: Exception) -> None:
        if self._errors.get(key) != str(error):
            _log.exception(
                "the autoscaling policy of %s failed; it stays at %d replicas", key, deployment.wanted
            )
        self._errors[key] = str(error)

    def _scale(self, key: str, deployment: DeploymentState, wanted: int, now: float) -> list[Action]:
        self._errors.pop(key, None)
        if wanted == deployment.wanted:
            return []
        return self._machine.handle(Scale(deployment.app, deployment.name, wanted, "autoscaling"), now)

    def _ask(self, key: str) -> None:
        for held in self._replicas.of(key).values():
            task = asyncio.get_running_loop().create_task(self._hear(held))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _hear(self, held: Any) -> None:
        try:
            held.told = await answer_of(held.actor.told.remote(), _ASK_SECONDS)
            held.told_at = time.monotonic()
        except (ShoalError, asyncio.TimeoutError) as error:  # the watch of the replica deals with that
            _log.debug("a replica does not tell its load: %s", error)

    def details(self, key: str) -> Any:
        """Return the last decisions for a deployment, None without autoscaling."""
        scaler = self._autoscalers.get(key)
        if scaler is None:
            return None
        asked = [held.told_at for held in self._replicas.of(key).values() if held.told_at]
        return {
            "decisions": [dict(each) for each in scaler.decisions],
            "error": self._errors.get(key, ""),
            "waiting": self.waiting(key, time.monotonic()),
            "age_s": time.monotonic() - min(asked) if asked else None,
        }
