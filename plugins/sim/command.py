"""`shoal simulate`: compares schedulers on a made-up cluster and workload, or on a trace."""

from __future__ import annotations

import json

import attrs
import click

from shoal.errors import ConfigError
from shoal.interfaces.hooks import hookimpl
from shoal.sim.compare import Cluster, Result, simulate
from shoal.sim.workloads import WORKLOADS, make_workload, read_trace

HEADERS = (
    "scheduler",
    "makespan, s",
    "utilisation",
    "bytes moved",
    "decisions",
    "decisions/s",
    "real time, s",
)


class Commands:
    """Adds the command to `shoal`."""

    @hookimpl
    def shoal_cli_commands(self, group: click.Group) -> None:
        """Add it."""
        group.add_command(simulate_command)


@click.command("simulate")
@click.option("--nodes", type=click.IntRange(1, 100_000), default=1000, show_default=True)
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
@click.option("--tasks", type=click.IntRange(1, 10_000_000), default=100_000, show_default=True)
@click.option("--workload", type=click.Choice(WORKLOADS), default="mixed", show_default=True)
@click.option(
    "--trace", type=click.Path(exists=True, dir_okay=False), help="Read tasks from a CSV or JSON Lines file."
)
@click.option(
    "--schedulers", default="hybrid,locality,binpack,spread", show_default=True, help="Plugins by name."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the workload: equal seeds, equal work."
)
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
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
    """Compare schedulers on a simulated cluster: how long the work takes, how full the nodes are, what moves."""
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
    if json_:
        click.echo(json.dumps([as_plain(result) for result in results], indent=2))
        return
    source = trace or f"{workload}, seed {seed}"
    click.echo(f"{len(work):,} tasks ({source}) on {nodes:,} nodes of {cpus:g} CPUs\n")
    click.echo(table(results))


def as_plain(result: Result) -> dict[str, object]:
    """Return a result as JSON has it."""
    return {**attrs.asdict(result), "decisions_per_second": round(result.decisions_per_second)}


def table(results: list[Result]) -> str:
    """Return results as an aligned table."""
    rows = [
        (
            each.scheduler,
            f"{each.makespan:,.2f}",
            f"{each.utilisation:.1%}",
            f"{each.bytes_moved:,}",
            f"{each.decisions:,}",
            f"{each.decisions_per_second:,.0f}",
            f"{each.real_seconds:,.2f}",
        )
        for each in results
    ]
    widths = [max(len(line[column]) for line in [HEADERS, *rows]) for column in range(len(HEADERS))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [HEADERS, *rows]
    )
