"""`shoal simulate`: compares schedulers on a made-up cluster and workload, or on a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from shoal.errors import ConfigError
from shoal.observe.commands import json_option, say
from shoal.observe.render import table
from shoal.sim.workloads import WORKLOADS, make_workload, read_trace

if TYPE_CHECKING:
    from shoal.sim.compare import Result

HEADERS = (
    "scheduler",
    "makespan, s",
    "utilisation, %",
    "bytes moved",
    "decisions",
    "decisions/s",
    "real time, s",
)


@click.command("simulate")
@click.option("--nodes", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="How many.")
@click.option(
    "--cpus", type=click.FloatRange(0, min_open=True), default=16.0, show_default=True, help="Of each node."
)
@click.option(
    "--gpus", type=click.FloatRange(0), default=4.0, show_default=True, help="Of each node that has some."
)
@click.option(
    "--gpu-nodes", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Share of such nodes."
)
@click.option(
    "--gigabits",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Into each node.",
)
@click.option(
    "--tasks",
    type=click.IntRange(1, 10_000_000),
    default=100_000,
    show_default=True,
    help="How many, without a trace.",
)
@click.option(
    "--workload",
    type=click.Choice(WORKLOADS),
    default="mixed",
    show_default=True,
    help="What kind of tasks, without a trace.",
)
@click.option(
    "--trace", type=click.Path(exists=True, dir_okay=False), help="Read tasks from a CSV or JSON Lines file."
)
@click.option(
    "--schedulers", default="hybrid,locality,binpack,spread", show_default=True, help="Plugins by name."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the workload: equal seeds, equal work."
)
@json_option("Print JSON.")
def simulate_command(
    nodes: int,
    cpus: float,
    gpus: float,
    gpu_nodes: float,
    gigabits: float,
    tasks: int,
    workload: str,
    trace: str | None,
    schedulers: str,
    seed: int,
    json_: bool,
) -> None:
    """Compare schedulers on a simulated cluster.

    Prints how long the work takes with each, how full the nodes are, what moves and how fast it decides.
    """
    # Here, since `shoal --help` imports this module too.
    from shoal.sim.compare import Cluster, simulate

    names = [name.strip() for name in schedulers.split(",") if name.strip()]
    if not names:
        raise ConfigError("--schedulers names none; give some, separated by commas, such as hybrid,spread")
    cluster = Cluster(nodes=nodes, cpus=cpus, gpus=gpus, gpu_nodes=gpu_nodes, bandwidth=gigabits * 1e9 / 8)
    work = read_trace(trace) if trace else make_workload(workload, tasks, seed)
    results = []
    for name in names:
        results.append(simulate(cluster, name, work))
        if not json_:
            click.echo(f"{name}: {results[-1].real_seconds:.1f} s of real time", err=True)
    source = trace or f"{workload}, seed {seed}"
    title = f"{len(work):,} tasks ({source}) on {nodes:,} nodes of {cpus:g} CPUs"
    say([as_plain(result) for result in results], lambda: f"{title}\n\n{as_text(results)}", json_)


def as_plain(result: Result) -> dict[str, object]:
    """Return a result as JSON has it."""
    return {**attrs.asdict(result), "decisions_per_second": round(result.decisions_per_second)}


def as_text(results: list[Result]) -> str:
    """Return results as an aligned table."""
    return table(
        HEADERS,
        [
            [
                each.scheduler,
                each.makespan,
                each.utilisation * 100,
                each.bytes_moved,
                each.decisions,
                round(each.decisions_per_second),
                each.real_seconds,
            ]
            for each in results
        ],
    )
