"""The workers of one attempt: a placement group, and an actor for each rank."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

import shoal
from shoal.errors import ConfigError, GetTimeout, ShoalError
from shoal.train.config import ScalingConfig
from shoal.train.session import Place
from shoal.train.worker import TrainWorker, WorkerInfo

CALL_SECONDS = 600.0  # for which one call of a backend may take
_SETTLE_SECONDS = 3.0  # for which what an ended group had may take to be free again
_LOOK_SECONDS = 0.5
_SAY_SECONDS = 30.0
_ABANDON_SECONDS = (
    1.0  # for which a living rank may take to leave a group that failed; a new one takes not much longer
)


@attrs.frozen(kw_only=True)
class WorkerMetadata:
    """Where a rank is."""

    rank: int
    place: Place
    info: WorkerInfo

    @property
    def node_id(self) -> str:
        """The node's identifier."""
        return self.info.node_id

    @property
    def node_ip(self) -> str:
        """The node's address."""
        return self.info.address

    @property
    def gpu_ids(self) -> list[str]:
        """The worker's GPUs."""
        return list(self.info.devices)


@attrs.frozen(kw_only=True)
class Worker:
    """One rank: its actor, and where it is."""

    actor: Any
    metadata: WorkerMetadata
    bundle: int = 0  # its place in the placement group


class WorkerGroup:
    """The workers of one attempt, by rank; ranks on one node follow each other. Backends work with it.

    Calls of functions raise what these raise, ActorDied for a worker that is dead, and GetTimeout after ten minutes.
    """

    def __init__(self, workers: Sequence[Worker], placement: Any) -> None:
        self.workers = list(workers)
        self._placement = placement

    def __len__(self) -> int:
        return len(self.workers)

    def execute(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Call a function in every worker, with the same arguments; return what it returns, by rank."""
        found: list[Any] = shoal.get(self.execute_async(func, *args, **kwargs), timeout=CALL_SECONDS)
        return found

    def execute_async(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Call a function in every worker; return references."""
        return [worker.actor.run.remote(func, *args, **kwargs) for worker in self.workers]

    def execute_single(self, worker_index: int, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function in one worker."""
        return shoal.get(self.execute_single_async(worker_index, func, *args, **kwargs), timeout=CALL_SECONDS)

    def execute_single_async(
        self, worker_index: int, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Call a function in one worker; return a reference."""
        return self.workers[worker_index].actor.run.remote(func, *args, **kwargs)

    def execute_each(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a function with arguments of its own in every worker: tuples that begin with the function, by rank."""
        refs = [worker.actor.run.remote(*call) for worker, call in zip(self.workers, calls, strict=True)]
        found: list[Any] = shoal.get(refs, timeout=CALL_SECONDS)
        return found

    def survivors(self, lost: set[int], reset: Callable[[], None] | None) -> dict[int, Any]:
        """Have ranks that are not lost leave what failed; return actors that are fit for another, by place."""
        if reset is None:
            return {}
        asked = [
            (worker, worker.actor.abandon.remote(reset, _ABANDON_SECONDS))
            for rank, worker in enumerate(self.workers)
            if rank not in lost
        ]
        deadline = time.monotonic() + _ABANDON_SECONDS + 0.5
        return {
            worker.bundle: worker.actor
            for worker, ref in asked
            if get_within(ref, max(0.0, deadline - time.monotonic()))
        }

    def end(self, reusable: bool = False, survivors: Mapping[int, Any] | None = None) -> Any:
        """End the workers, but for survivors. Returns the placement group if it is to be used again, else gives that
        back too.
        """
        for worker in self.workers:
            if survivors and worker.bundle in survivors:
                continue
            with contextlib.suppress(ShoalError):
                shoal.kill(worker.actor)
        if reusable:
            return self._placement
        with contextlib.suppress(ShoalError):
            shoal.remove_placement_group(self._placement)
        return None


def bundles_of(scaling: ScalingConfig, workers: int) -> list[dict[str, float]]:
    """Return what a placement group needs for so many workers, and the trainer's own share last.

    Example: `bundles_of(ScalingConfig(num_workers=2), 2)  # [{"CPU": 1.0}, {"CPU": 1.0}]`
    """
    bundles = [scaling.bundle() or {"CPU": 0.001} for _ in range(workers)]
    own = {name: float(value) for name, value in (scaling.trainer_resources or {}).items() if value}
    return [*bundles, own] if own else bundles


def room_for(scaling: ScalingConfig, nodes: Sequence[Mapping[str, Any]], key: str) -> int:
    """Return how many workers, at most the most, fit on nodes, by their "Resources" or what is "Available".

    Example: `room_for(ScalingConfig(num_workers=4), shoal.nodes(), "Resources")`
    """
    bundle = scaling.bundle()
    found = 0
    for node in nodes:
        if not node["Alive"] or node.get("Draining"):
            continue
        has = node[key]
        fits = min(
            (int((has.get(name, 0.0) + 1e-6) / need) for name, need in bundle.items()), default=1 << 30
        )
        found += min(fits, 1) if scaling.placement_strategy == "STRICT_SPREAD" else fits
    if scaling.placement_strategy == "STRICT_PACK":
        found = max((_alone(bundle, node[key]) for node in nodes if node["Alive"]), default=0)
    return min(found, scaling.max_workers)


def _alone(bundle: Mapping[str, float], has: Mapping[str, float]) -> int:
    return min((int((has.get(name, 0.0) + 1e-6) / need) for name, need in bundle.items()), default=1 << 30)


def refuse_impossible(scaling: ScalingConfig, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raise ConfigError if no node, or not all of them together, could ever hold the least number of workers."""
    if room_for(scaling, nodes, "Resources") >= scaling.min_workers:
        return
    bundle = scaling.bundle()
    alive = [node for node in nodes if node["Alive"]]
    have = "; ".join(
        f"{node['NodeID'][:8]} has "
        + (", ".join(f"{node['Resources'].get(name, 0.0):g} {name}" for name in bundle) or "nothing of it")
        for node in alive[:8]
    )
    asks = ", ".join(f"{value:g} {name}" for name, value in bundle.items())
    if not any(_alone(bundle, node["Resources"]) for node in alive):
        text = f"a worker needs {asks}, which no node has"
        if bundle.get("GPU") and not any(node["Resources"].get("GPU") for node in alive):
            text = f"a worker needs {asks}, and no node has a GPU: leave use_gpu out to train on CPUs"
    else:
        text = f"{scaling.min_workers} workers with {asks} each ({scaling.placement_strategy}) do not fit"
    raise ConfigError(
        f"{text}. Nodes: {have}. ScalingConfig(wait_for_nodes_s=…) waits for nodes that will come"
    )


class Placer:
    """Finds places for groups. What it waits for it says through `say`; it gives up when `stopped` says so."""

    def __init__(
        self, scaling: ScalingConfig, runtime_env: Mapping[str, Any], say: Callable[[str], None]
    ) -> None:
        self._scaling = scaling
        self._runtime_env = dict(runtime_env)
        self._say = say
        self._kept: tuple[Any, int] | None = None  # a placement group of before, and for how many workers
        self._living: dict[int, Any] = {}  # workers in it, by their places

    def keep(self, placement: Any, workers: int, living: Mapping[int, Any]) -> None:
        """Keep the placement group of a group that has ended, with the workers that are fit for another."""
        self._kept = (placement, workers) if placement is not None else None
        self._living = dict(living)

    def free(self) -> None:
        """Give back what is kept."""
        self._end_living()
        if self._kept is not None:
            with contextlib.suppress(ShoalError):
                shoal.remove_placement_group(self._kept[0])
            self._kept = None

    def _end_living(self) -> None:
        for actor in self._living.values():
            with contextlib.suppress(ShoalError):
                shoal.kill(actor)
        self._living = {}

    def start(self) -> WorkerGroup:
        """Start as many workers as fit, within the bounds; those that live are among them.

        Raises ConfigError if the least number never can.
        """
        placement, workers = self._place()
        actor = shoal.remote(TrainWorker)
        living, self._living = self._living, {}
        actors = [
            living[index]
            if index in living
            else actor.options(
                **_options(self._scaling.bundle()),
                max_concurrency=8,
                max_restarts=0,
                runtime_env=self._runtime_env or None,
                scheduling_strategy=shoal.PlacementGroupSchedulingStrategy(placement, index),
            ).remote()
            for index in range(workers)
        ]
        try:
            infos: list[WorkerInfo] = shoal.get([each.info.remote() for each in actors], timeout=CALL_SECONDS)
        except BaseException:
            WorkerGroup(
                [Worker(actor=each, metadata=None) for each in actors],  # type: ignore[arg-type]
                placement,
            ).end()
            raise
        return WorkerGroup(ranked(actors, infos), placement)

    def _place(self) -> tuple[Any, int]:
        scaling = self._scaling
        deadline = time.monotonic() + scaling.wait_for_nodes_s
        if self._kept is not None:
            (placement, workers), self._kept = self._kept, None
            # A node's death may be known later than its workers': a group that can shrink looks for places anew.
            if not scaling.elasticity_enabled and self._is_whole(placement):
                return placement, workers
            self._end_living()
            with contextlib.suppress(ShoalError):
                shoal.remove_placement_group(placement)
        began = said = time.monotonic()
        while True:
            nodes = shoal.nodes()
            most = room_for(scaling, nodes, "Resources")
            if most < scaling.min_workers:
                if time.monotonic() > deadline:
                    refuse_impossible(scaling, nodes)
                time.sleep(_LOOK_SECONDS)
                continue
            settled = time.monotonic() - began > _SETTLE_SECONDS
            workers = max(scaling.min_workers, room_for(scaling, nodes, "Available") if settled else most)
            labels = self._labels(workers)
            placement = shoal.placement_group(
                bundles_of(scaling, workers), scaling.placement_strategy, bundle_label_selector=labels
            )
            if placement.wait(_SETTLE_SECONDS if scaling.elasticity_enabled else _SAY_SECONDS):
                return placement, workers
            shoal.remove_placement_group(placement)
            if time.monotonic() - said > _SAY_SECONDS - 1:
                said = time.monotonic()
                self._say(
                    f"{workers} workers with {scaling.bundle()} each wait for room; available: "
                    f"{shoal.available_resources()}"
                )

    def _labels(self, workers: int) -> list[dict[str, str]] | None:
        asked = self._scaling.label_selector
        if not asked:
            return None
        labels = (
            [dict(asked)] * workers
            if isinstance(asked, Mapping)
            else [dict(each) for each in asked[:workers]]
        )
        return [*labels, {}] if self._scaling.trainer_resources else labels

    @staticmethod
    def _is_whole(placement: Any) -> bool:
        """Whether every node of a placement group is there still, and stays."""
        try:
            places = shoal.placement_group_table(placement)["bundles_to_node_id"].values()
        except (ValueError, ShoalError):
            return False
        nodes = {node["NodeID"] for node in shoal.nodes() if node["Alive"] and not node.get("Draining")}
        return all(_hex(place) in nodes for place in places)


def _hex(node: Any) -> str:
    return node if isinstance(node, str) else node.hex()


def _options(bundle: Mapping[str, float]) -> dict[str, Any]:
    rest = dict(bundle)
    options: dict[str, Any] = {"num_cpus": rest.pop("CPU", 0.0), "num_gpus": rest.pop("GPU", 0.0)}
    if memory := rest.pop("memory", 0.0):
        options["memory"] = memory
    if rest:
        options["resources"] = rest
    return options


def ranked(actors: Sequence[Any], infos: Sequence[WorkerInfo]) -> list[Worker]:
    """Give actors their ranks: those on one node follow each other, nodes in the order of their first actor.

    Example: `ranked([a, b, c], [on_one, on_two, on_one])  # a, c, b`
    """
    order = {node: rank for rank, node in enumerate(dict.fromkeys(info.node_id for info in infos))}
    pairs = sorted(enumerate(zip(actors, infos, strict=True)), key=lambda pair: order[pair[1][1].node_id])
    sizes = Counter(info.node_id for info in infos)
    ranks: dict[str, list[int]] = defaultdict(list)
    for rank, (_, (_, info)) in enumerate(pairs):
        ranks[info.node_id].append(rank)
    nodes = {node: tuple(there) for node, there in ranks.items()}
    return [
        Worker(
            actor=actor,
            bundle=bundle,
            metadata=WorkerMetadata(
                rank=rank,
                info=info,
                place=Place(
                    world_rank=rank,
                    world_size=len(pairs),
                    local_rank=ranks[info.node_id].index(rank),
                    local_world_size=sizes[info.node_id],
                    node_rank=order[info.node_id],
                    nodes=nodes,
                ),
            ),
        )
        for rank, (bundle, (actor, info)) in enumerate(pairs)
    ]


def get_within(refs: Any, seconds: float) -> Any:
    """Return what references hold, None for what does not come in time or was lost."""
    try:
        return shoal.get(refs, timeout=seconds)
    except (GetTimeout, ShoalError):
        return None
